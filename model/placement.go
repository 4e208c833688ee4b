package model

// Placement says in which clusters a deployment may run, and which of them suit
// it best. It narrows and orders whatever target_envs, or their absence, leaves
// as candidates.
type Placement struct {
	// Clusters is in how many the deployment runs when it does not name them;
	// nil means as many as its availability needs.
	Clusters *uint32 `json:"clusters,omitempty"`
	// Selector are labels that a cluster must carry; Requirements say more.
	Selector     map[string]string  `json:"selector,omitempty"`
	Requirements []LabelRequirement `json:"requirements,omitempty"`
	// Spread keeps clusters apart, the most important first.
	Spread []SpreadConstraint `json:"spread,omitempty"`
	// Affinity draws the deployment to clusters in which others run,
	// AntiAffinity keeps it away from them.
	Affinity     []AffinityTerm `json:"affinity,omitempty"`
	AntiAffinity []AffinityTerm `json:"anti_affinity,omitempty"`
	// Weights replace the weight of clusters for this deployment.
	Weights map[string]uint32 `json:"weights,omitempty"`
}

// LabelRequirement is one condition on a cluster's labels.
type LabelRequirement struct {
	Key      string        `json:"key"`
	Operator LabelOperator `json:"operator"`
	// Values for In and NotIn; empty for the others.
	Values []string `json:"values,omitempty"`
}

// LabelOperator is how a LabelRequirement compares. A cluster without the label
// satisfies NotIn and DoesNotExist.
type LabelOperator string

const (
	LabelIn           LabelOperator = "In"
	LabelNotIn        LabelOperator = "NotIn"
	LabelExists       LabelOperator = "Exists"
	LabelDoesNotExist LabelOperator = "DoesNotExist"
)

// SpreadConstraint spreads a deployment's clusters over the values of a label,
// zone or region for instance.
type SpreadConstraint struct {
	Label string `json:"label"`
	// MaxSkew is by how many the value with most clusters may exceed the one
	// with fewest; nil means 1.
	MaxSkew *uint32 `json:"max_skew,omitempty"`
	// Required: rather fewer clusters than a greater skew. Otherwise the skew is
	// kept as small as it can be.
	Required bool `json:"required,omitempty"`
}

// AffinityTerm points at other deployments: all of a class, or one. Exactly one
// of Class and Deployment is set.
type AffinityTerm struct {
	// Class is PACKAGE.CLASS, or a class of the deployment's own package.
	Class string `json:"class,omitempty"`
	// Deployment is a deployment's key.
	Deployment string `json:"deployment,omitempty"`
	// Required: only clusters that satisfy the term are candidates. Otherwise it
	// counts with Weight, 1 to 100; nil means 50.
	Required bool    `json:"required,omitempty"`
	Weight   *uint32 `json:"weight,omitempty"`
}

// Failover says what happens when a cluster in which a deployment runs is lost.
type Failover struct {
	// Enabled: units of a lost cluster are moved to another one.
	Enabled bool `json:"enabled"`
	// Toleration is how long a cluster must have been unhealthy; nil means the
	// policy's, 5 minutes.
	Toleration *Duration `json:"toleration,omitempty"`
	// Backups are clusters that are used, in order, in place of targets that are
	// lost, also when the deployment is first placed. Empty: any candidate.
	Backups []string `json:"backups,omitempty"`
	// Failback: go back to a target that was named when it has recovered. nil
	// means yes. What was not asked for by name stays where it is.
	Failback *bool `json:"failback,omitempty"`
}
