package plan

import (
	"fmt"
	"slices"

	"github.com/oprc/oprc-pm/model"
)

// resolveFunctions returns the functions that the deployment names, or those that
// the class binds, each once, in order.
func resolveFunctions(d *model.Deployment, p *model.Package, class model.Class) ([]model.FunctionDeploymentSpec, error) {
	functions := []model.FunctionDeploymentSpec{}
	seen := map[string]bool{}
	add := func(spec model.FunctionDeploymentSpec) {
		if !seen[spec.FunctionKey] {
			seen[spec.FunctionKey] = true
			functions = append(functions, spec)
		}
	}
	for _, spec := range d.Functions {
		add(spec)
	}
	if len(d.Functions) > 0 {
		return functions, nil
	}
	for _, binding := range class.FunctionBindings {
		i := slices.IndexFunc(p.Functions, func(f model.Function) bool { return f.Key == binding.FunctionKey })
		if i < 0 {
			return nil, Errorf(ReasonFunctionNotFound, "package %s has no function %s, which class %s binds as %s",
				p.Name, binding.FunctionKey, class.Key, binding.Name)
		}
		f := p.Functions[i]
		add(model.FunctionDeploymentSpec{
			FunctionKey: f.Key, Description: f.Description, ProvisionConfig: f.ProvisionConfig, Config: f.Config,
		})
	}
	return functions, nil
}

// unitFunctions returns functions as units carry them: with enough replicas for
// the throughput asked for, within the limit that their owner set. What a
// function was promised (its QoS) is no business of a CRM.
func unitFunctions(resolved []model.FunctionDeploymentSpec, least uint32) (functions []model.FunctionDeploymentSpec, notes []string) {
	functions = slices.Clone(resolved)
	for i := range functions {
		f := &functions[i]
		f.QoSRequirement = nil
		var note string
		if f.ProvisionConfig, note = scaled(f.ProvisionConfig, least); note != "" {
			notes = append(notes, fmt.Sprintf("function %s: %s", f.FunctionKey, note))
		}
	}
	return functions, notes
}

// scaled returns a configuration with at least so many replicas, as far as its
// max_scale allows. max_scale is never raised: it is what its owner wants to pay
// for. The configuration itself is not changed.
func scaled(config *model.ProvisionConfig, least uint32) (_ *model.ProvisionConfig, note string) {
	var own, most *uint32
	if config != nil {
		own, most = config.MinScale, config.MaxScale
	}
	want := least
	if own != nil {
		want = max(want, *own)
	}
	if most != nil && want > *most {
		note = fmt.Sprintf("min_scale %d is limited to max_scale %d", want, *most)
		want = *most
	}
	if own == nil && want == 0 || own != nil && *own == want {
		return config, note
	}
	var filled model.ProvisionConfig
	if config != nil {
		filled = *config
	}
	filled.MinScale = &want
	return &filled, note
}
