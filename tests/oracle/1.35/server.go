// For 1.35 and later: extension libraries always have a cost, and nothing can be asked for otherwise.

package oracle

import (
	"k8s.io/apimachinery/pkg/util/version"
	plugin "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

func strictByDefault() bool { return true }

func baseEnvironment(compat *version.Version, _ bool) *environment.EnvSet {
	return environment.MustBaseEnvSet(compat)
}

func declarations(params, authorizer, _ bool) plugin.OptionalVariableDeclarations {
	return plugin.OptionalVariableDeclarations{HasParams: params, HasAuthorizer: authorizer}
}

func compileCondition(compiler *plugin.CompositedCompiler, expressions []plugin.ExpressionAccessor, declared plugin.OptionalVariableDeclarations, mode environment.Type) plugin.ConditionEvaluator {
	return compiler.CompileCondition(expressions, declared, mode)
}

func estimate(*plugin.CompositedCompiler, plugin.OptionalVariableDeclarations, environment.Type, string) any {
	return nil
}
