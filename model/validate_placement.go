package model

func (c *checker) placement(d *Deployment) {
	p := d.Placement
	if p == nil {
		return
	}
	c.enter("placement")
	defer c.leave()
	c.between("clusters", p.Clusters, 1, MaxTargetEnvironments)
	c.labels("selector", p.Selector)
	c.labelRequirements(p.Requirements)
	c.spread(p.Spread)
	c.affinity("affinity", p.Affinity, d.Key)
	c.affinity("anti_affinity", p.AntiAffinity, d.Key)
	c.weights(p.Weights)
}

func (c *checker) labelRequirements(requirements []LabelRequirement) {
	if !c.size("requirements", len(requirements), MaxLabels) {
		return
	}
	c.enter("requirements")
	defer c.leave()
	for i := range requirements {
		r := &requirements[i]
		c.enterIndex(i)
		c.labelKey("key", r.Key)
		c.oneOf("operator", string(r.Operator), r.Operator.allowed())
		takesValues := r.Operator == LabelIn || r.Operator == LabelNotIn
		switch {
		case takesValues && len(r.Values) == 0:
			c.reportAt("values", "must not be empty for %s", r.Operator)
		case takesValues:
			c.eachOnce("values", r.Values, MaxLabels, labelValueProblem)
		case len(r.Values) > 0 && (r.Operator == LabelExists || r.Operator == LabelDoesNotExist):
			c.reportAt("values", "must be empty for %s", r.Operator)
		}
		c.leave()
	}
}

func (c *checker) spread(constraints []SpreadConstraint) {
	if !c.size("spread", len(constraints), MaxLabels) {
		return
	}
	met := newSeen(len(constraints))
	c.enter("spread")
	defer c.leave()
	for i := range constraints {
		s := &constraints[i]
		c.enterIndex(i)
		if c.labelKey("label", s.Label) && !met.add(s.Label) {
			c.reportAt("label", "%s is used a second time", echo(s.Label))
		}
		c.between("max_skew", s.MaxSkew, 1, MaxTargetEnvironments)
		c.leave()
	}
}

// affinity checks the terms of one direction. own is the deployment's key.
func (c *checker) affinity(member string, terms []AffinityTerm, own string) {
	if !c.size(member, len(terms), MaxLabels) {
		return
	}
	c.enter(member)
	defer c.leave()
	for i := range terms {
		term := &terms[i]
		c.enterIndex(i)
		switch {
		case term.Class == "" && term.Deployment == "":
			c.report("must name a class or a deployment")
		case term.Class != "" && term.Deployment != "":
			c.report("must name a class or a deployment, not both")
		case term.Class != "":
			c.qualifiedClass("class", term.Class)
		case term.Deployment == own:
			c.reportAt("deployment", "must not be the deployment itself")
		default:
			c.name("deployment", term.Deployment)
		}
		c.between("weight", term.Weight, 1, 100)
		c.leave()
	}
}

// qualifiedClass checks CLASS or PACKAGE.CLASS. Both names may hold dots, so
// what it is made of does not show.
func (c *checker) qualifiedClass(member, value string) {
	if len(value) > maxQualifiedLength {
		c.reportAt(member, "must be at most %d characters, got %d", maxQualifiedLength, len(value))
		return
	}
	for i := range len(value) {
		if b := value[i]; !isAlphanumeric(b) && b != '.' && b != '_' && b != '-' {
			c.reportAt(member, "must be CLASS or PACKAGE.CLASS, got %s", echo(value))
			return
		}
	}
}

func (c *checker) weights(weights map[string]uint32) {
	if !c.size("weights", len(weights), MaxTargetEnvironments) {
		return
	}
	c.enter("weights")
	defer c.leave()
	for _, cluster := range sortedKeys(weights) {
		weight := weights[cluster]
		if message := environmentProblem(cluster); message != "" {
			c.reportAt(cluster, "the name of the cluster %s", message)
		}
		c.between(cluster, &weight, 0, MaxWeight)
	}
}

func (c *checker) failover(d *Deployment) {
	f := d.Failover
	if f == nil {
		return
	}
	c.enter("failover")
	defer c.leave()
	c.duration("toleration", f.Toleration)
	targets := newSeen(len(d.TargetEnvs))
	for _, env := range d.TargetEnvs {
		targets.add(env)
	}
	c.eachOnce("backups", f.Backups, MaxTargetEnvironments, func(name string) string {
		if message := environmentProblem(name); message != "" {
			return message
		}
		if _, target := targets[name]; target {
			return "must not be one of target_envs, got " + echo(name)
		}
		return ""
	})
}

func (c *checker) rollout(r *Rollout) {
	if r == nil {
		return
	}
	c.enter("rollout")
	defer c.leave()
	if r.Strategy != "" {
		c.oneOf("strategy", string(r.Strategy), r.Strategy.allowed())
	}
	c.share("wave", r.Wave)
	c.share("max_unavailable", r.MaxUnavailable)
	c.duration("soak", r.Soak)
	c.positiveDuration("progress_deadline", r.ProgressDeadline)
	if r.OnFailure != "" {
		c.oneOf("on_failure", string(r.OnFailure), r.OnFailure.allowed())
	}
}
