package model

import "strconv"

// Validate returns every rule that the deployment breaks by itself. That its
// package and class exist is decided when the change is committed. Call
// SetDefaults first.
func (d *Deployment) Validate() []Problem {
	var c checker
	c.deployment(d)
	return c.result()
}

func (c *checker) deployment(d *Deployment) {
	c.name("key", d.Key)
	c.name("package_name", d.PackageName)
	c.name("class_key", d.ClassKey)
	c.each("target_envs", d.TargetEnvs, MaxTargetEnvironments, environmentProblem)
	c.each("available_envs", d.AvailableEnvs, MaxTargetEnvironments, environmentProblem)
	c.requirements(&d.NFRRequirements)
	c.templates(d.EnvTemplates)
	c.functionSpecs(d.Functions)
	c.odgm(d.ODGM)
	c.telemetry(d.Telemetry)
}

func (c *checker) requirements(r *NFRRequirements) {
	c.enter("nfr_requirements")
	defer c.leave()
	c.atLeastOne("min_throughput_rps", r.MinThroughputRPS)
	c.fraction("availability", r.Availability)
	c.fraction("cpu_utilization_target", r.CPUUtilizationTarget)
}

// environmentKey checks a key of a map over environments.
func (c *checker) environmentKey(key string) {
	if message := environmentProblem(key); message != "" {
		c.reportAt(key, "the name of the environment %s", message)
	}
}

func (c *checker) templates(templates map[string]string) {
	if !c.size("env_templates", len(templates), MaxTargetEnvironments) {
		return
	}
	c.enter("env_templates")
	defer c.leave()
	for _, env := range sortedKeys(templates) {
		c.environmentKey(env)
		c.line(env, templates[env])
	}
}

func (c *checker) functionSpecs(specs []FunctionDeploymentSpec) {
	if !c.size("functions", len(specs), MaxFunctions) {
		return
	}
	c.enter("functions")
	defer c.leave()
	for i := range specs {
		spec := &specs[i]
		c.enterIndex(i)
		c.name("function_key", spec.FunctionKey)
		c.text("description", spec.Description)
		c.optionalLine("available_location", spec.AvailableLocation)
		if spec.QoSRequirement != nil {
			c.enter("qos_requirement")
			c.fraction("availability", &spec.QoSRequirement.Availability)
			c.leave()
		}
		c.provision(spec.ProvisionConfig)
		c.textMap("config", spec.Config)
		c.leave()
	}
}

func (c *checker) odgm(o *ODGMDataSpec) {
	if o == nil {
		return
	}
	c.enter("odgm")
	defer c.leave()
	c.each("collections", o.Collections, MaxEntries, collectionProblem)
	c.atLeastOne("partition_count", o.PartitionCount)
	c.atLeastOne("replica_count", o.ReplicaCount)
	c.optionalLine("shard_type", o.ShardType)
	c.optionalLine("log", o.Log)
	c.nodeIDs(o.EnvNodeIDs)
}

func collectionProblem(name string) string {
	if name == "" {
		return "must not be empty"
	}
	return lineProblem(name, MaxLineLength)
}

func (c *checker) nodeIDs(ids map[string][]uint64) {
	if !c.size("env_node_ids", len(ids), MaxTargetEnvironments) {
		return
	}
	c.enter("env_node_ids")
	defer c.leave()
	for _, env := range sortedKeys(ids) {
		c.environmentKey(env)
		c.size(env, len(ids[env]), MaxEntries)
	}
}

func (c *checker) telemetry(t *TelemetryConfig) {
	if t == nil {
		return
	}
	c.enter("telemetry")
	defer c.leave()
	c.fraction("sampling_rate", t.SamplingRate)
	c.optionalLine("service_name", t.ServiceName)
	c.textMap("resource_attributes", t.ResourceAttributes)
}

// maxQualifiedLength bounds "<package>.<class>".
const maxQualifiedLength = 2*MaxNameLength + 1

// Validate returns every rule that the runtime state breaks.
func (s *RuntimeState) Validate() []Problem {
	var c checker
	c.name("key", s.Key)
	c.reference("class_key", s.ClassKey)
	c.reference("deployment_id", s.DeploymentID)
	c.line("status", s.Status)
	c.line("health", s.Health)
	c.enter("metrics")
	c.amount("cpu_usage", s.Metrics.CPUUsage)
	c.amount("memory_usage", s.Metrics.MemoryUsage)
	c.amount("average_latency", s.Metrics.AverageLatency)
	c.leave()
	return c.result()
}

// reference checks a required name that somebody else chose.
func (c *checker) reference(member, value string) {
	switch {
	case value == "":
		c.reportAt(member, "is required")
	case len(value) > maxQualifiedLength:
		c.reportAt(member, "must be at most %s characters, got %d", strconv.Itoa(maxQualifiedLength), len(value))
	default:
		c.line(member, value)
	}
}
