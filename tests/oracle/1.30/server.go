// For 1.30 and 1.31: a condition was a filter, and extension libraries cost nothing by default.

package oracle

import (
	"k8s.io/apimachinery/pkg/util/version"
	plugin "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/cel/environment"
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

func compileCondition(compiler *plugin.CompositedCompiler, expressions []plugin.ExpressionAccessor, declared plugin.OptionalVariableDeclarations, mode environment.Type) plugin.Filter {
	return compiler.Compile(expressions, declared, mode)
}

func estimate(*plugin.CompositedCompiler, plugin.OptionalVariableDeclarations, environment.Type, string) any {
	return nil
}
