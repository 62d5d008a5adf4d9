// The attributes of a request as a policy sees them. From 1.37 on the server keeps them in another form, which is why this is
// a file of its own (see server.go).

package oracle

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
)

// versioned says that input objects are in the version of the policy already.
func versioned(attributes admission.Attributes, kind schema.GroupVersionKind) *admission.VersionedAttributes {
	return &admission.VersionedAttributes{
		Attributes:         attributes,
		VersionedObject:    attributes.GetObject(),
		VersionedOldObject: attributes.GetOldObject(),
		VersionedKind:      kind,
	}
}
