package plan

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/oprc/oprc-pm/model"
)

const (
	maxUnitID = 63 // a DNS label
	// idHashLength characters of base32 are 80 bits: nobody finds two units
	// with one id by trying.
	idHashLength = 16
)

// hashCommon digests what the units of a plan share. Neither generation nor the id
// itself counts, so an update leaves alone a unit that it does not change. Nor do
// the names of the clusters that the data grid's nodes are in, only the ids of all
// nodes (sorted): when one place moves, the others' units stay.
//
// The digest is over JSON. A change of model.DeploymentUnit that changes this JSON
// gives every unit a new id, and so replaces every unit there is when the release
// is rolled out. A golden test guards against doing that unawares.
func hashCommon(unit model.DeploymentUnit, grid model.UnitODGM, nodes []uint64) [sha256.Size]byte {
	unit.ID, unit.Generation = "", 0
	grid.EnvNodeIDs, grid.NodeID = nil, 0
	unit.ODGM = &grid
	return sha256.Sum256(fmt.Appendf(encode(unit, unit.DeploymentKey), "%d", nodes))
}

// hashTemplate digests what a deployment wants of its units, wherever and however
// many they are.
func hashTemplate(d *model.Deployment, class model.Class, functions []model.FunctionDeploymentSpec) string {
	functions, _ = unitFunctions(functions, 0)
	grid := wishedGrid(d)
	var nodes map[string][]uint64
	if d.ODGM != nil {
		nodes = d.ODGM.EnvNodeIDs
	}
	return shortHash(sha256.Sum256(encode(struct {
		Unit      model.DeploymentUnit
		Templates map[string]string
		Nodes     map[string][]uint64
	}{
		Unit: model.DeploymentUnit{
			DeploymentKey: d.Key, PackageName: d.PackageName, ClassKey: d.ClassKey, Functions: functions,
			FunctionBindings: notNil(class.FunctionBindings), NFRRequirements: d.NFRRequirements,
			ODGM: &grid, Telemetry: fillTelemetry(d.Telemetry),
		},
		Templates: d.EnvTemplates, Nodes: nodes,
	}, d.Key)))
}

func encode(v any, deployment string) []byte {
	content, err := json.Marshal(v)
	if err != nil {
		// Only a NaN or infinite number cannot be encoded, and none of them can
		// have been decoded from the document that the plan is made of.
		panic(fmt.Sprintf("plan: encode units of deployment %s: %v", deployment, err))
	}
	return content
}

// unitID names a unit after its content: the same wish always has the same id,
// and another wish another one. common is the hashCommon of all units of the plan;
// what only this one has is added here, so that a plan for many clusters encodes
// the common part once.
func unitID(common [sha256.Size]byte, unit model.DeploymentUnit, nodes []uint64) string {
	sum := sha256.Sum256(fmt.Appendf(common[:], "%q %q %q %d", unit.TargetEnv, unit.TargetCluster, unit.SelectedTemplate, nodes))
	return idBase(unit.ClassKey) + "-" + shortHash(sum)
}

func shortHash(sum [sha256.Size]byte) string {
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:idHashLength]
}

// idBase makes the readable part of a unit's id: lower case, DNS-safe, beginning
// with a letter.
func idBase(classKey string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(classKey))
	clean = strings.Trim(clean, "-")
	switch {
	case clean == "":
		clean = "x"
	case clean[0] < 'a' || clean[0] > 'z':
		clean = "a" + clean
	}
	return strings.TrimRight(clean[:min(len(clean), maxUnitID-1-idHashLength)], "-")
}
