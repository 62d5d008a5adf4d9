// What an expression or a policy is asked about: objects, and the request in its JSON form.

package oracle

import (
	"bytes"
	"encoding/json"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
)

// object is any Kubernetes object, its numbers read as the server reads them: whole ones are int64.
type object struct {
	fields map[string]any
	// given is true for an explicit null as well: parameters can be declared and null.
	given bool
}

func (o *object) UnmarshalJSON(text []byte) error {
	o.given = true
	if bytes.Equal(text, []byte("null")) {
		o.fields = nil
		return nil
	}
	return utiljson.Unmarshal(text, &o.fields)
}

func (o *object) runtime() runtime.Object {
	if o.fields == nil {
		return nil
	}
	return &unstructured.Unstructured{Object: o.fields}
}

// request is an AdmissionRequest in its JSON form. Absent, it is the creation of a pod by nobody in particular.
type request admissionv1.AdmissionRequest

func (r *request) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, (*admissionv1.AdmissionRequest)(r))
}

func (r *request) orDefault() *request {
	if r != nil {
		return r
	}
	return &request{
		Kind:      metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Resource:  metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Operation: admissionv1.Create,
	}
}

// matched is the resource and kind that the policy's rules chose; they differ from the request's own only when an
// equivalent resource matched.
func (r *request) matched() (metav1.GroupVersionResource, metav1.GroupVersionKind) {
	r = r.orDefault()
	return r.Resource, r.Kind
}

func (r *request) attributes(object, oldObject object) *admission.VersionedAttributes {
	_, kind := r.matched()
	return versioned(r.record(object, oldObject), schema.GroupVersionKind(kind))
}

func (r *request) record(object, oldObject object) admission.Attributes {
	r = r.orDefault()
	kind, resource := r.Kind, r.Resource
	if r.RequestKind != nil {
		kind = *r.RequestKind
	}
	if r.RequestResource != nil {
		resource = *r.RequestResource
	}
	extra := map[string][]string{}
	for key, values := range r.UserInfo.Extra {
		extra[key] = values
	}
	who := &user.DefaultInfo{Name: r.UserInfo.Username, UID: r.UserInfo.UID, Groups: r.UserInfo.Groups, Extra: extra}
	return admission.NewAttributesRecord(
		object.runtime(), oldObject.runtime(), schema.GroupVersionKind(kind), r.Namespace, r.Name,
		schema.GroupVersionResource(resource), r.SubResource, admission.Operation(r.Operation), options(r.Options.Raw),
		r.DryRun != nil && *r.DryRun, who,
	)
}

func options(text []byte) runtime.Object {
	var read object
	if len(text) == 0 || json.Unmarshal(text, &read) != nil {
		return nil
	}
	return read.runtime()
}
