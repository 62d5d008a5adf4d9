// An authorizer whose answers come with the input.

package oracle

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// rule answers the checks it fits: a field that is set must be equal, one that is not set fits anything.
type rule struct {
	User          *string `json:"user"`
	Verb          *string `json:"verb"`
	Path          *string `json:"path"`
	Group         *string `json:"group"`
	Resource      *string `json:"resource"`
	Subresource   *string `json:"subresource"`
	Namespace     *string `json:"namespace"`
	Name          *string `json:"name"`
	FieldSelector *string `json:"fieldSelector"`
	LabelSelector *string `json:"labelSelector"`
	// Decision is "allow" or "deny"; anything else is no opinion.
	Decision string `json:"decision"`
	Reason   string `json:"reason"`
	Error    string `json:"error"`
}

// rules is an authorizer whose answers come with the input; the first rule that fits answers, else nobody has an opinion.
type rules []rule

func (known rules) authorizer() authorizer.Authorizer {
	return authorizer.AuthorizerFunc(func(_ context.Context, asked authorizer.Attributes) (authorizer.Decision, string, error) {
		for _, rule := range known {
			if rule.fits(asked) {
				return rule.answer()
			}
		}
		return authorizer.DecisionNoOpinion, "", nil
	})
}

func (r *rule) fits(asked authorizer.Attributes) bool {
	fit := func(wanted *string, got string) bool { return wanted == nil || *wanted == got }
	who := ""
	if asked.GetUser() != nil {
		who = asked.GetUser().GetName()
	}
	return fit(r.User, who) && fit(r.Verb, asked.GetVerb()) && fit(r.Path, asked.GetPath()) &&
		fit(r.Group, asked.GetAPIGroup()) && fit(r.Resource, asked.GetResource()) && fit(r.Subresource, asked.GetSubresource()) &&
		fit(r.Namespace, asked.GetNamespace()) && fit(r.Name, asked.GetName()) &&
		fit(r.FieldSelector, fieldSelector(asked)) && fit(r.LabelSelector, labelSelector(asked))
}

func (r *rule) answer() (authorizer.Decision, string, error) {
	var err error
	if r.Error != "" {
		err = errors.New(r.Error)
	}
	switch r.Decision {
	case "allow":
		return authorizer.DecisionAllow, r.Reason, err
	case "deny":
		return authorizer.DecisionDeny, r.Reason, err
	default:
		return authorizer.DecisionNoOpinion, r.Reason, err
	}
}

// fieldSelector is the parsed selector of the check in its text form; a selector that could not be parsed is as good as none.
func fieldSelector(asked authorizer.Attributes) string {
	selecting, able := asked.(interface {
		GetFieldSelector() (fields.Requirements, error)
	})
	if !able {
		return ""
	}
	text := ""
	requirements, _ := selecting.GetFieldSelector()
	for _, requirement := range requirements {
		if text != "" {
			text += ","
		}
		text += requirement.Field + string(requirement.Operator) + requirement.Value
	}
	return text
}

func labelSelector(asked authorizer.Attributes) string {
	selecting, able := asked.(interface {
		GetLabelSelector() (labels.Requirements, error)
	})
	if !able {
		return ""
	}
	text := ""
	requirements, _ := selecting.GetLabelSelector()
	for _, requirement := range requirements {
		if text != "" {
			text += ","
		}
		text += requirement.String()
	}
	return text
}
