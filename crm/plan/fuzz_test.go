package plan

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
)

// FuzzMake plans whatever deployments can be decoded, over clusters at random: no
// panic, no unsound plan, and planned again nothing moves.
func FuzzMake(f *testing.F) {
	for n, document := range []string{
		`{"key":"cart","package_name":"shop","class_key":"Cart","target_envs":["c00","eu","nowhere"]}`,
		`{"key":"cart","package_name":"shop","class_key":"Cart","available_envs":["us","c03"],
			"nfr_requirements":{"availability":0.9999,"min_throughput_rps":700},
			"odgm":{"collections":["x","y"],"partition_count":7,"replica_count":3,"env_node_ids":{"c00":[1,0],"us":[1]}}}`,
		`{"key":"k","package_name":"shop","class_key":"Cart",
			"placement":{"clusters":3,"selector":{"tier":"gold"},"requirements":[{"key":"zone","operator":"Exists"}],
			"spread":[{"label":"zone","required":true},{"label":"tier","max_skew":2}],"weights":{"c01":0},
			"affinity":[{"class":"near"}],"anti_affinity":[{"deployment":"far","required":true,"weight":7}]}}`,
		`{"key":"k","package_name":"shop","class_key":"Cart","target_envs":["eu","c01"],
			"failover":{"enabled":true,"backups":["c02"],"failback":false},"env_templates":{"eu":"edge"},
			"functions":[{"function_key":"f","provision_config":{"min_scale":2,"max_scale":3}}],"telemetry":{}}`,
	} {
		if _, unknown, err := model.DecodeDeployment([]byte(document), model.JSON); err != nil || len(unknown) > 0 {
			f.Fatalf("seed %d: unknown %v, error %v", n, unknown, err)
		}
		f.Add([]byte(document), uint64(n))
	}
	f.Fuzz(func(t *testing.T, document []byte, seed uint64) {
		d, _, err := model.DecodeDeployment(document, model.JSON)
		if err != nil {
			return
		}
		r := random{rand.New(rand.NewPCG(seed, 1))}
		in := r.input()
		d.PlacedOn, d.AvoidedClusters = in.Deployment.PlacedOn, in.Deployment.AvoidedClusters
		d.ClassKey = in.Deployment.ClassKey
		in.Deployment, in.Explain = d, true
		first, ok := planned(t, in)
		if !ok {
			return
		}
		checkIdentity(t, first)
		second, ok := planned(t, again(in, first))
		if diff := cmp.Diff(first.Placed, second.Placed); !ok || diff != "" {
			t.Errorf("planned again: %v (-first +again):\n%s", ok, diff)
		}
	})
}
