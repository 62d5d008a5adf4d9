// Command oracle is `node cel-eval` over a file of cases, so that it can be built against other releases of the API
// server's packages.
//
// scripts/oracle puts it together in a module of its own: this file, package oracle of the node program, and the files
// that fits the release. It reads cases (cel-eval input, with the answer of the node program's release in "want") and
// writes either the cases with this release's answers (`fill`) or the answers that differ (`differ RELEASE`). With `strict`
// as a third word extension libraries have their cost even where the release does not charge it by default. It is no part of
// a build or a test.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"assent.dev/oracle/oracle"
)

type answered struct {
	ID   json.RawMessage `json:"id"`
	Want json.RawMessage `json:"want"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	cases := bytes.Split(bytes.TrimSpace(input), []byte("\n"))
	asked := input
	if len(args) == 3 && args[2] == "strict" {
		asked = bytes.ReplaceAll(input, []byte("{\"id\":"), []byte("{\"strict\":true,\"id\":"))
	}
	answers, err := answers(asked)
	if err != nil {
		return err
	}
	if len(answers) != len(cases) {
		return errors.New("an answer is missing")
	}
	for index, line := range cases {
		known := answered{}
		if err := json.Unmarshal(line, &known); err != nil {
			return err
		}
		got, found := bytes.CutPrefix(answers[index], append(append([]byte(`{"id":`), known.ID...), ','))
		if !found {
			return fmt.Errorf("%s: answered as %s", known.ID, answers[index])
		}
		got = append([]byte("{"), got...)
		switch {
		case len(args) == 1 && args[0] == "fill":
			asked := bytes.TrimSuffix(line, []byte("}"))
			if known.Want != nil {
				asked = bytes.TrimSuffix(line, append(append([]byte(`,"want":`), known.Want...), '}'))
			}
			fmt.Printf("%s,\"want\":%s}\n", asked, got)
		case len(args) > 1 && args[0] == "differ":
			if !bytes.Equal(got, known.Want) {
				fmt.Printf("{\"version\":%q,\"id\":%s,\"want\":%s}\n", args[1], known.ID, got)
			}
		default:
			return errors.New("usage: oracle fill | differ RELEASE [strict]")
		}
	}
	return nil
}

// address is a place in memory; some texts of older releases name one.
var address = regexp.MustCompile(`0x[0-9a-f]{8,}`)

// answers asks twice: Go's maps have no order, and an answer that varies is no fact.
func answers(input []byte) ([][]byte, error) {
	var first, second bytes.Buffer
	for _, output := range []*bytes.Buffer{&first, &second} {
		if err := oracle.CEL(bytes.NewReader(input), output); err != nil {
			return nil, err
		}
	}
	split := func(output *bytes.Buffer) [][]byte {
		return bytes.Split(bytes.TrimSpace(address.ReplaceAll(output.Bytes(), []byte("0x"))), []byte("\n"))
	}
	lines, again := split(&first), split(&second)
	for index := range lines {
		if !bytes.Equal(lines[index], again[index]) {
			return nil, fmt.Errorf("varies: %s", lines[index])
		}
	}
	return lines, nil
}
