// What differs between releases of the server's packages is in this file and versioned.go alone, so that the other files of
// the expression oracle build unchanged against each of them.

package oracle

import (
	"github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/util/version"
	plugin "k8s.io/apiserver/pkg/admission/plugin/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
	"k8s.io/apiserver/pkg/features"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
)

func strictByDefault() bool {
	return utilfeature.DefaultFeatureGate.Enabled(features.StrictCostEnforcementForVAP)
}

func baseEnvironment(compat *version.Version, strict bool) *environment.EnvSet {
	return environment.MustBaseEnvSet(compat, strict)
}

func declarations(params, authorizer, strict bool) plugin.OptionalVariableDeclarations {
	return plugin.OptionalVariableDeclarations{HasParams: params, HasAuthorizer: authorizer, StrictCost: strict}
}

func compileCondition(compiler *plugin.CompositedCompiler, expressions []plugin.ExpressionAccessor, declared plugin.OptionalVariableDeclarations, mode environment.Type) plugin.ConditionEvaluator {
	return compiler.CompileCondition(expressions, declared, mode)
}

// estimate is the range that the server's static estimator gives, with no sizes known but those of literals. The server
// does not ask it about policies; it does for validation rules of custom resources.
func estimate(compiler *plugin.CompositedCompiler, declared plugin.OptionalVariableDeclarations, mode environment.Type, expression string) any {
	requestType, namespaceType := plugin.BuildRequestType(), plugin.BuildNamespaceType()
	variables := []cel.EnvOption{
		cel.Variable(plugin.ObjectVarName, cel.DynType),
		cel.Variable(plugin.OldObjectVarName, cel.DynType),
		cel.Variable(plugin.NamespaceVarName, namespaceType.CelType()),
		cel.Variable(plugin.RequestVarName, requestType.CelType()),
	}
	if declared.HasParams {
		variables = append(variables, cel.Variable(plugin.ParamsVarName, cel.DynType))
	}
	if declared.HasAuthorizer {
		variables = append(variables,
			cel.Variable(plugin.AuthorizerVarName, library.AuthorizerType),
			cel.Variable(plugin.RequestResourceAuthorizerVarName, library.ResourceCheckType))
	}
	set, err := compiler.CompositionEnv.EnvSet.Extend(environment.VersionedOptions{
		IntroducedVersion: version.MajorMinor(1, 0),
		EnvOptions:        variables,
		DeclTypes:         []*apiservercel.DeclType{namespaceType, requestType},
	})
	if err != nil {
		return err.Error()
	}
	env, err := set.Env(mode)
	if err != nil {
		return err.Error()
	}
	ast, issues := env.Compile(expression)
	if issues != nil {
		return issues.String()
	}
	estimated, err := env.EstimateCost(ast, &library.CostEstimator{})
	if err != nil {
		return err.Error()
	}
	return map[string]uint64{"min": estimated.Min, "max": estimated.Max}
}
