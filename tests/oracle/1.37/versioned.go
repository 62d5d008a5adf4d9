// For 1.37 and later: objects are kept with their values.

package oracle

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
)

func versioned(attributes admission.Attributes, kind schema.GroupVersionKind) *admission.VersionedAttributes {
	return &admission.VersionedAttributes{
		Attributes:         attributes,
		VersionedObject:    admission.NewLazyObject(attributes.GetObject()),
		VersionedOldObject: admission.NewLazyObject(attributes.GetOldObject()),
		VersionedKind:      kind,
	}
}
