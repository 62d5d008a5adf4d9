// Whole policies: the server's own dispatcher and validator, and what they say of one request.

package oracle

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	plugin "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/warning"
)

// policyInput is one request and the policies, bindings and parameters it meets.
type policyInput struct {
	ID              json.RawMessage                                             `json:"id"`
	Policy          *admissionregistrationv1.ValidatingAdmissionPolicy          `json:"policy"`
	Policies        []*admissionregistrationv1.ValidatingAdmissionPolicy        `json:"policies"`
	Binding         *admissionregistrationv1.ValidatingAdmissionPolicyBinding   `json:"binding"`
	Bindings        []*admissionregistrationv1.ValidatingAdmissionPolicyBinding `json:"bindings"`
	Params          []object                                                    `json:"params"`
	ClusterParams   bool                                                        `json:"clusterParams"`
	Request         *request                                                    `json:"request"`
	Object          object                                                      `json:"object"`
	OldObject       object                                                      `json:"oldObject"`
	NamespaceObject *corev1.Namespace                                           `json:"namespaceObject"`
	Authorizer      rules                                                       `json:"authorizer"`
	Equivalents     [][]equivalent                                              `json:"equivalents"`
}

// policyOutput is what the dispatcher answered, and what each evaluation on the way to it gave.
type policyOutput struct {
	ID               json.RawMessage   `json:"id,omitempty"`
	Allowed          bool              `json:"allowed"`
	Status           *status           `json:"status,omitempty"`
	Warnings         []string          `json:"warnings,omitempty"`
	AuditAnnotations map[string]string `json:"audit_annotations,omitempty"`
	Evaluations      []*evaluation     `json:"evaluations"`
	CompileErrors    []string          `json:"compile_errors,omitempty"`
	OracleError      string            `json:"oracle_error,omitempty"`
}

type status struct {
	Code    int32  `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// evaluation is one policy evaluated with one parameter object.
type evaluation struct {
	Policy           string            `json:"policy"`
	Param            string            `json:"param,omitempty"`
	Decisions        []decision        `json:"decisions"`
	AuditAnnotations []auditAnnotation `json:"audit_annotations,omitempty"`
}

type decision struct {
	Action     string `json:"action"`
	Evaluation string `json:"evaluation"`
	Message    string `json:"message,omitempty"`
	Reason     string `json:"reason,omitempty"`
}

type auditAnnotation struct {
	Key    string `json:"key"`
	Action string `json:"action"`
	Value  string `json:"value,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Policies reads requests with their policies and writes the verdict of the server's own dispatcher and validator.
func Policies(in io.Reader, out io.Writer) error {
	return answers(in, out, dispatch, func(id json.RawMessage, text string) policyOutput {
		return policyOutput{ID: id, OracleError: text}
	})
}

func dispatch(input *policyInput) policyOutput {
	output := policyOutput{ID: input.ID, Evaluations: []*evaluation{}}
	policies := input.Policies
	if input.Policy != nil {
		policies = append(policies, input.Policy)
	}
	bindings := input.Bindings
	if input.Binding != nil {
		bindings = append(bindings, input.Binding)
	}
	hooks := []validating.PolicyHook{}
	for _, policy := range policies {
		defaults(policy.Spec.MatchConstraints)
		validator, faults, err := compile(policy)
		if err != nil {
			output.OracleError = err.Error()
			return output
		}
		output.CompileErrors = append(output.CompileErrors, faults...)
		hook := validating.PolicyHook{Policy: policy, Evaluator: &recorder{validator, policy.Name, &output}}
		hook.ParamInformer, hook.ParamScope = params(policy.Spec.ParamKind, input.Params, input.ClusterParams)
		for _, binding := range bindings {
			if binding.Spec.PolicyName == policy.Name {
				defaults(binding.Spec.MatchResources)
				hook.Bindings = append(hook.Bindings, binding)
			}
		}
		if len(bindings) == 0 {
			hook.Bindings = append(hook.Bindings, unconditional(policy.Name))
		}
		hooks = append(hooks, hook)
	}

	matcher, err := matcher(input.NamespaceObject)
	if err != nil {
		output.OracleError = err.Error()
		return output
	}
	warnings := &warnings{}
	attributes := &annotated{Attributes: input.Request.record(input.Object, input.OldObject), known: map[string]string{}}
	ctx := warning.WithWarningRecorder(context.Background(), warnings)
	dispatcher := validating.NewDispatcher(input.Authorizer.authorizer(), matcher)
	err = dispatcher.Dispatch(ctx, attributes, kinds(input.Equivalents, attributes), hooks)
	output.Allowed = err == nil
	output.Status = statusOf(err)
	output.Warnings = *warnings
	output.AuditAnnotations = attributes.known
	return output
}

func statusOf(err error) *status {
	if err == nil {
		return nil
	}
	var known apierrors.APIStatus
	if errors.As(err, &known) {
		said := known.Status()
		return &status{Code: said.Code, Reason: string(said.Reason), Message: said.Message}
	}
	return &status{Code: 500, Message: err.Error()}
}

// compile does as the plugin does when it sees a policy; the plugin's own function is not exported.
func compile(policy *admissionregistrationv1.ValidatingAdmissionPolicy) (validating.Validator, []string, error) {
	strict := strictByDefault()
	compiler, err := plugin.NewCompositedCompiler(baseEnvironment(environment.DefaultCompatibilityVersion(), strict))
	if err != nil {
		return nil, nil, err
	}
	full := declarations(policy.Spec.ParamKind != nil, true, strict)
	withoutAuthorizer := declarations(policy.Spec.ParamKind != nil, false, strict)
	faults := []string{}
	for index := range policy.Spec.Variables {
		variable := &policy.Spec.Variables[index]
		compiled := compiler.CompileAndStoreVariable(&validating.Variable{Name: variable.Name, Expression: variable.Expression}, full, environment.StoredExpressions)
		if compiled.Error != nil {
			faults = append(faults, compiled.Error.Error())
		}
	}
	condition := func(expressions []plugin.ExpressionAccessor, declared plugin.OptionalVariableDeclarations) plugin.ConditionEvaluator {
		evaluator := compileCondition(compiler, expressions, declared, environment.StoredExpressions)
		for _, fault := range evaluator.CompilationErrors() {
			faults = append(faults, fault.Error())
		}
		return evaluator
	}
	var matcher matchconditions.Matcher
	if conditions := policy.Spec.MatchConditions; len(conditions) > 0 {
		expressions := make([]plugin.ExpressionAccessor, len(conditions))
		for index := range conditions {
			expressions[index] = (*matchconditions.MatchCondition)(&conditions[index])
		}
		matcher = matchconditions.NewMatcher(condition(expressions, full), policy.Spec.FailurePolicy, "policy", "validate", policy.Name)
	}
	validations, messages := make([]plugin.ExpressionAccessor, len(policy.Spec.Validations)), make([]plugin.ExpressionAccessor, len(policy.Spec.Validations))
	for index, validation := range policy.Spec.Validations {
		validations[index] = &validating.ValidationCondition{Expression: validation.Expression, Message: validation.Message, Reason: validation.Reason}
		if validation.MessageExpression != "" {
			messages[index] = &validating.MessageExpressionCondition{MessageExpression: validation.MessageExpression}
		}
	}
	annotations := make([]plugin.ExpressionAccessor, len(policy.Spec.AuditAnnotations))
	for index, annotation := range policy.Spec.AuditAnnotations {
		annotations[index] = &validating.AuditAnnotationCondition{Key: annotation.Key, ValueExpression: annotation.ValueExpression}
	}
	validator := validating.NewValidator(
		condition(validations, full), matcher, condition(annotations, full), condition(messages, withoutAuthorizer), policy.Spec.FailurePolicy)
	return validator, faults, nil
}

// recorder notes what the validator gave before the dispatcher turns it into one answer.
type recorder struct {
	validating.Validator
	policy string
	output *policyOutput
}

func (r *recorder) Validate(ctx context.Context, resource schema.GroupVersionResource, attributes *admission.VersionedAttributes, params runtime.Object, namespace *corev1.Namespace, budget int64, authz authorizer.Authorizer) validating.ValidateResult {
	result := r.Validator.Validate(ctx, resource, attributes, params, namespace, budget, authz)
	noted := &evaluation{Policy: r.policy, Param: nameOf(params), Decisions: []decision{}}
	for _, given := range result.Decisions {
		noted.Decisions = append(noted.Decisions, decision{string(given.Action), string(given.Evaluation), given.Message, string(given.Reason)})
	}
	for _, given := range result.AuditAnnotations {
		noted.AuditAnnotations = append(noted.AuditAnnotations, auditAnnotation{given.Key, string(given.Action), given.Value, given.Error})
	}
	r.output.Evaluations = append(r.output.Evaluations, noted)
	return result
}

func nameOf(params runtime.Object) string {
	if params, named := params.(metav1.Object); named {
		return strings.TrimPrefix(params.GetNamespace()+"/"+params.GetName(), "/")
	}
	return ""
}

// warnings collects what the server would send in Warning headers. It drops repeats, as the header writer does.
type warnings []string

func (w *warnings) AddWarning(_, text string) {
	for _, known := range *w {
		if known == text {
			return
		}
	}
	*w = append(*w, text)
}

// annotated reads the audit annotations that were accepted for a request.
type annotated struct {
	admission.Attributes
	known map[string]string
}

func (a *annotated) AddAnnotation(key, value string) error {
	if err := a.Attributes.AddAnnotation(key, value); err != nil {
		return err
	}
	a.known[key] = value
	return nil
}
