package model

// maxQualifiedLength bounds "<package>.<class>".
const maxQualifiedLength = 2*MaxNameLength + 1

// Validate returns every rule that the runtime state breaks.
func (s *RuntimeState) Validate() []Problem {
	found := s.check()
	return found.result()
}

func (s *RuntimeState) check() problems {
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
	return c.problems
}

// reference checks a required name that somebody else chose.
func (c *checker) reference(member, value string) {
	switch {
	case value == "":
		c.reportAt(member, "is required")
	case len(value) > maxQualifiedLength:
		c.reportAt(member, "must be at most %d characters, got %d", maxQualifiedLength, len(value))
	default:
		c.line(member, value)
	}
}
