// One expression: compiled and evaluated in the environment of ValidatingAdmissionPolicy, with its cost.

package oracle

import (
	"context"
	"encoding/json"
	"io"
	"strings"

	"github.com/google/cel-go/cel"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"
	plugin "k8s.io/apiserver/pkg/admission/plugin/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// expressionInput is one expression and all that it may see.
type expressionInput struct {
	ID              json.RawMessage   `json:"id"`
	Expr            string            `json:"expr"`
	Object          object            `json:"object"`
	OldObject       object            `json:"oldObject"`
	Params          object            `json:"params"`
	Request         *request          `json:"request"`
	NamespaceObject *corev1.Namespace `json:"namespaceObject"`
	Variables       []named           `json:"variables"`
	Authorizer      rules             `json:"authorizer"`
	NoAuthorizer    bool              `json:"noAuthorizer"`
	Budget          *int64            `json:"budget"`
	Strict          *bool             `json:"strict"`
	Compat          string            `json:"compat"`
	Estimate        bool              `json:"estimate"`
}

// expressionOutput is what the server's evaluator made of it.
type expressionOutput struct {
	ID           json.RawMessage `json:"id,omitempty"`
	Type         string          `json:"type,omitempty"`
	Value        any             `json:"value,omitempty"`
	Error        string          `json:"error,omitempty"`
	CompileError string          `json:"compile_error,omitempty"`
	Cost         *int64          `json:"cost,omitempty"`
	Estimate     any             `json:"estimate,omitempty"`
	OracleError  string          `json:"oracle_error,omitempty"`
}

// named is an expression with a name; without one it is the expression itself. It may give any type.
type named struct {
	Name       string `json:"name"`
	Expression string `json:"expression"`
}

func (n *named) GetName() string        { return n.Name }
func (n *named) GetExpression() string  { return n.Expression }
func (*named) ReturnTypes() []*cel.Type { return []*cel.Type{cel.AnyType, cel.DynType} }

// compilers keeps what is expensive to build: the environments of one set of variables.
type compilers map[string]*plugin.CompositedCompiler

// CEL reads expressions and writes their type, value or error, and cost.
func CEL(in io.Reader, out io.Writer) error {
	known := compilers{}
	return answers(in, out, known.evaluate, func(id json.RawMessage, text string) expressionOutput {
		return expressionOutput{ID: id, OracleError: text}
	})
}

func (known compilers) evaluate(input *expressionInput) expressionOutput {
	output := expressionOutput{ID: input.ID}
	strict := strictByDefault()
	if input.Strict != nil {
		strict = *input.Strict
	}
	mode := environment.StoredExpressions
	compat := environment.DefaultCompatibilityVersion()
	if input.Compat != "" {
		parsed, err := version.ParseGeneric(input.Compat)
		if err != nil {
			output.OracleError = err.Error()
			return output
		}
		mode, compat = environment.NewExpressions, parsed
	}
	declared := declarations(input.Params.given, !input.NoAuthorizer, strict)
	compiler, err := known.compiler(input.Variables, declared, mode, compat, strict)
	if err != nil {
		output.OracleError = err.Error()
		return output
	}

	expression := &named{Expression: input.Expr}
	compiled := compiler.CompileCELExpression(expression, declared, mode)
	if compiled.Error != nil {
		output.CompileError = compiled.Error.Error()
		return output
	}
	output.Type = compiled.OutputType.String()
	if input.Estimate {
		output.Estimate = estimate(compiler, declared, mode, input.Expr)
	}

	attributes := input.Request.attributes(input.Object, input.OldObject)
	bindings := plugin.OptionalVariableBindings{VersionedParams: input.Params.runtime(), Authorizer: input.Authorizer.authorizer()}
	if input.NoAuthorizer {
		bindings.Authorizer = nil
	}
	budget := int64(celconfig.RuntimeCELCostBudget)
	if input.Budget != nil {
		budget = *input.Budget
	}
	condition := compileCondition(compiler, []plugin.ExpressionAccessor{expression}, declared, mode)
	matchedResource, matchedKind := input.Request.matched()
	admission := plugin.CreateAdmissionRequest(attributes.Attributes, matchedResource, matchedKind)
	namespace := plugin.CreateNamespaceObject(input.NamespaceObject)
	results, remaining, err := condition.ForInput(context.Background(), attributes, admission, bindings, namespace, budget)
	if err != nil {
		output.Error = err.Error()
		return output
	}
	cost := budget - remaining
	output.Cost = &cost
	if results[0].Error != nil {
		output.Error = results[0].Error.Error()
		return output
	}
	output.Value = encode(results[0].EvalResult)
	return output
}

func (known compilers) compiler(variables []named, declared plugin.OptionalVariableDeclarations, mode environment.Type, compat *version.Version, strict bool) (*plugin.CompositedCompiler, error) {
	key, err := json.Marshal([]any{variables, declared, mode, compat.String(), strict})
	if err != nil {
		return nil, err
	}
	if compiler, found := known[string(key)]; found {
		return compiler, nil
	}
	// Callers group their lines; a small cache is enough and a large one would hold every environment ever asked for.
	if len(known) > 32 {
		clear(known)
	}
	compiler, err := plugin.NewCompositedCompiler(baseEnvironment(compat, strict))
	if err != nil {
		return nil, err
	}
	for _, variable := range variables {
		compiler.CompileAndStoreVariable(&named{Name: strings.Clone(variable.Name), Expression: variable.Expression}, declared, mode)
	}
	known[string(key)] = compiler
	return compiler, nil
}
