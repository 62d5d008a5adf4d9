// Command node is every process of a real Kubernetes node in one program, chosen by its first argument.
//
// The upstream command packages are imported unchanged: what runs is the code of the release named in go.mod. It exists
// so that tests and the demo need nothing but package registries. Two commands more ask the API server's own packages
// what they make of an expression or a policy (package oracle).
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"assent.dev/node/oracle"
)

// commands is the table of processes; each entry builds the upstream cobra command.
var commands = map[string]func() *cobra.Command{
	"kube-apiserver":          func() *cobra.Command { return apiserver.NewAPIServerCommand() },
	"kube-controller-manager": func() *cobra.Command { return manager.NewControllerManagerCommand() },
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kube-proxy":              func() *cobra.Command { return proxy.NewProxyCommand() },
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
	"kubectl":                 kubectl.NewDefaultKubectlCommand,
	"cel-eval":                func() *cobra.Command { return lines("cel-eval", oracle.CEL) },
	"vap-eval":                func() *cobra.Command { return lines("vap-eval", oracle.Policies) },
}

// lines is a command that answers JSON lines: no process of a node, but what one of them thinks.
func lines(name string, answer func(io.Reader, io.Writer) error) *cobra.Command {
	return &cobra.Command{Use: name, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return answer(os.Stdin, os.Stdout)
	}}
}

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	name := os.Args[1]
	switch name {
	case "etcd":
		etcdmain.Main(append([]string{"etcd"}, os.Args[2:]...))
		return
	case "coredns":
		// Only the plugins imported above are built in: enough to answer for a cluster, none that forwards.
		os.Args = append([]string{"coredns"}, os.Args[2:]...)
		coremain.Run()
		return
	}
	build, known := commands[name]
	if !known {
		usage()
	}
	os.Args = append([]string{name}, os.Args[2:]...)
	os.Exit(cli.Run(build()))
}

func usage() {
	names := []string{"etcd", "coredns"}
	for name := range commands {
		names = append(names, name)
	}
	sort.Strings(names)
	fmt.Fprintf(os.Stderr, "usage: node COMMAND [FLAGS]\ncommands: %s\n", strings.Join(names, ", "))
	os.Exit(2)
}
