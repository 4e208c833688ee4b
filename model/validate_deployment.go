package model

// Validate returns every rule that the deployment breaks by itself. That its
// package and class exist is decided when the change is committed. Call
// SetDefaults first.
func (d *Deployment) Validate() []Problem {
	found := d.check()
	return found.result()
}

func (d *Deployment) check() problems {
	var c checker
	c.deployment(d)
	return c.problems
}

// deployments checks the deployments that came in one document. packageName is
// the document's name and classes are the keys of its classes, nil when they are
// not known.
func (c *checker) deployments(deployments []Deployment, packageName string, classes seen) {
	if !c.size("deployments", len(deployments), MaxDeployments) {
		return
	}
	keys := newSeen(len(deployments))
	c.enter("deployments")
	defer c.leave()
	for i := range deployments {
		d := &deployments[i]
		c.enterIndex(i)
		c.deployment(d)
		if d.Key != "" && !keys.add(d.Key) {
			c.reportAt("key", "%s is used a second time", echo(d.Key))
		}
		if _, have := classes[d.ClassKey]; classes != nil && !have && d.PackageName == packageName && nameProblem(d.ClassKey) == "" {
			c.reportAt("class_key", "names no class of this package: %s", echo(d.ClassKey))
		}
		c.leave()
	}
}

func (c *checker) deployment(d *Deployment) {
	c.name("key", d.Key)
	c.name("package_name", d.PackageName)
	c.name("class_key", d.ClassKey)
	c.eachOnce("target_envs", d.TargetEnvs, MaxTargetEnvironments, environmentProblem)
	c.each("available_envs", d.AvailableEnvs, MaxTargetEnvironments, environmentProblem)
	c.requirements(&d.NFRRequirements)
	c.templates(d.EnvTemplates)
	c.functionSpecs(d.Functions)
	c.odgm(d.ODGM)
	c.telemetry(d.Telemetry)
	c.placement(d)
	c.failover(d)
	c.rollout(d.Rollout)
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
