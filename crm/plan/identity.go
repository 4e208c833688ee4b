package plan

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/oprc/oprc-pm/model"
)

const (
	maxUnitID = 63 // a DNS label
	// idHashLength characters of base32 are 80 bits: nobody finds two units
	// with one id by trying.
	idHashLength = 16
)

// hashUnit digests what the units of a plan share. Neither generation nor the id
// itself counts, so an update leaves alone a unit that it does not change.
//
// The digest is over the unit's JSON. A change of model.DeploymentUnit that
// changes this JSON gives every unit a new id, and so replaces every unit there
// is when the release is rolled out. A golden test guards against doing that
// unawares.
func hashUnit(unit model.DeploymentUnit) [sha256.Size]byte {
	unit.ID, unit.Generation = "", 0
	unit.TargetEnv, unit.TargetCluster, unit.SelectedTemplate = "", "", ""
	content, err := json.Marshal(unit)
	if err != nil {
		// Only a NaN or infinite number cannot be encoded, and none of them can
		// have been decoded from the document that the plan is made of.
		panic(fmt.Sprintf("plan: encode unit of deployment %s: %v", unit.DeploymentKey, err))
	}
	return sha256.Sum256(content)
}

// unitID names a unit after its content: the same wish always has the same id,
// and another wish another one. shared is the hashUnit of all units of the plan;
// what only this one has is added here, so that a plan for many clusters encodes
// the common part once.
func unitID(shared [sha256.Size]byte, unit model.DeploymentUnit) string {
	sum := sha256.Sum256(fmt.Appendf(shared[:], "%q %q %q", unit.TargetEnv, unit.TargetCluster, unit.SelectedTemplate))
	hash := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:idHashLength]
	return idBase(unit.ClassKey) + "-" + hash
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

// planNodeIDs gives every selected environment at least one data grid node id.
// Ids that the client gave are kept; those of environments that are not selected
// are dropped, because no node would answer to them. The others follow from the
// deployment's and the environment's names, so they are stable, and are never 0
// and never the same for two environments of a deployment.
func planNodeIDs(deployment string, selected []string, given map[string][]uint64) map[string][]uint64 {
	ids := make(map[string][]uint64, len(selected))
	taken := map[uint64]bool{0: true}
	for _, env := range selected {
		if len(given[env]) > 0 {
			ids[env] = slices.Clone(given[env])
			for _, id := range ids[env] {
				taken[id] = true
			}
		}
	}
	// In the order of names, so that a collision is resolved in the same way
	// however the targets are ordered.
	for _, env := range slices.Sorted(slices.Values(selected)) {
		if ids[env] != nil {
			continue
		}
		for try := 0; ids[env] == nil; try++ {
			if id := nodeID(deployment, env, try); !taken[id] {
				taken[id] = true
				ids[env] = []uint64{id}
			}
		}
	}
	return ids
}

// nodeID is 32 bits wide: existing data grids were given no wider ones.
func nodeID(deployment, env string, try int) uint64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", deployment, env, try))
	return uint64(binary.BigEndian.Uint32(sum[:]))
}
