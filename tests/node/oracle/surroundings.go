// What the dispatcher finds around itself in a server: namespaces, parameter objects, kinds. Here all of it comes with the
// input line, and what is not there does not exist.

package oracle

import (
	"io"
	"net/http"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/policy/generic"
	"k8s.io/apiserver/pkg/admission/plugin/policy/matching"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// defaults sets what the API sets when such an object is stored; the matcher relies on it.
func defaults(match *admissionregistrationv1.MatchResources) {
	if match == nil {
		return
	}
	if match.MatchPolicy == nil {
		equivalent := admissionregistrationv1.Equivalent
		match.MatchPolicy = &equivalent
	}
	if match.NamespaceSelector == nil {
		match.NamespaceSelector = &metav1.LabelSelector{}
	}
	if match.ObjectSelector == nil {
		match.ObjectSelector = &metav1.LabelSelector{}
	}
}

// unconditional binds a policy for which no binding was given.
func unconditional(policy string) *admissionregistrationv1.ValidatingAdmissionPolicyBinding {
	return &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: policy},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName:        policy,
			ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	}
}

// matcher is the server's own, over the one namespace that is known.
func matcher(known *corev1.Namespace) (generic.PolicyMatcher, error) {
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
	if known != nil {
		if err := indexer.Add(known); err != nil {
			return nil, err
		}
	}
	client, err := kubernetes.NewForConfigAndClient(&rest.Config{Host: "http://absent.invalid"}, &http.Client{Transport: absent{}})
	if err != nil {
		return nil, err
	}
	return generic.NewPolicyMatcher(matching.NewMatcher(listers.NewNamespaceLister(indexer), client)), nil
}

// absent answers every live look-up of a namespace that was not given; no connection is made.
type absent struct{}

func (absent) RoundTrip(asked *http.Request) (*http.Response, error) {
	name := asked.URL.Path[strings.LastIndex(asked.URL.Path, "/")+1:]
	body := `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"message":"namespaces \"` + name +
		`\" not found","details":{"name":"` + name + `","kind":"namespaces"}}`
	return &http.Response{
		StatusCode: http.StatusNotFound,
		Header:     http.Header{"Content-Type": []string{"application/json"}},
		Body:       io.NopCloser(strings.NewReader(body)),
		Request:    asked,
	}, nil
}

// params is an informer that has long been in step: it holds the objects of the policy's parameter kind.
func params(kind *admissionregistrationv1.ParamKind, known []object, clusterScoped bool) (informers.GenericInformer, meta.RESTScope) {
	if kind == nil {
		return nil, nil
	}
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	for index := range known {
		param, is := known[index].runtime().(*unstructured.Unstructured)
		if is && param.GetAPIVersion() == kind.APIVersion && param.GetKind() == kind.Kind {
			// The indexer of a single goroutine fails only on objects without metadata.
			if err := indexer.Add(param); err != nil {
				panic(err)
			}
		}
	}
	if clusterScoped {
		return &informer{indexer: indexer}, meta.RESTScopeRoot
	}
	return &informer{indexer: indexer}, meta.RESTScopeNamespace
}

type informer struct {
	cache.SharedIndexInformer
	indexer cache.Indexer
}

func (i *informer) Informer() cache.SharedIndexInformer { return i }
func (*informer) HasSynced() bool                       { return true }
func (i *informer) Lister() cache.GenericLister {
	return cache.NewGenericLister(i.indexer, schema.GroupResource{Resource: "params"})
}

// equivalent is one of several names of the same resource, with the kind it has under that name.
type equivalent struct {
	Group       string `json:"group"`
	Version     string `json:"version"`
	Resource    string `json:"resource"`
	Subresource string `json:"subresource"`
	Kind        string `json:"kind"`
}

// kinds knows the request's own resource and those said to be the same; converting changes the version and nothing else.
func kinds(groups [][]equivalent, asked admission.Attributes) admission.ObjectInterfaces {
	same := map[schema.GroupResource]string{}
	for _, group := range groups {
		for _, one := range group {
			same[schema.GroupResource{Group: one.Group, Resource: one.Resource}] = group[0].Group + "/" + group[0].Resource
		}
	}
	mapper := runtime.NewEquivalentResourceRegistryWithIdentity(func(resource schema.GroupResource) string {
		return same[resource]
	})
	mapper.RegisterKindFor(asked.GetResource(), asked.GetSubresource(), asked.GetKind())
	for _, group := range groups {
		for _, one := range group {
			version := schema.GroupVersion{Group: one.Group, Version: one.Version}
			mapper.RegisterKindFor(version.WithResource(one.Resource), one.Subresource, version.WithKind(one.Kind))
		}
	}
	return &interfaces{admission.NewObjectInterfacesFromScheme(runtime.NewScheme()), mapper}
}

type interfaces struct {
	admission.ObjectInterfaces
	mapper runtime.EquivalentResourceMapper
}

func (i *interfaces) GetEquivalentResourceMapper() runtime.EquivalentResourceMapper { return i.mapper }
func (i *interfaces) GetObjectCreater() runtime.ObjectCreater                       { return renaming{} }
func (i *interfaces) GetObjectConvertor() runtime.ObjectConvertor                   { return renaming{} }

// renaming converts as a custom resource without a conversion webhook is converted.
type renaming struct {
	runtime.ObjectConvertor
}

func (renaming) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetGroupVersionKind(kind)
	return object, nil
}

func (renaming) Convert(in, out, _ any) error {
	from, to := in.(*unstructured.Unstructured), out.(*unstructured.Unstructured)
	to.Object = from.DeepCopy().Object
	return nil
}
