package testproc

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/oprc/oprc-pm/model"
)

// rolledPackage is a package of one class, whose function runs an image.
func rolledPackage(class, image string) string {
	return fmt.Sprintf(`{"name":"rolled","classes":[{"key":%q,"function_bindings":[{"name":"f","function_key":"A.f","access_modifier":"PUBLIC"}]}],`+
		`"functions":[{"key":"A.f","provision_config":{"container_image":%q}}]}`, class, image)
}

// packageUpdate changes what a deployed function runs, and then tries to take its
// class away.
func (s *strategySuite) packageUpdate(t *testing.T) {
	const path = "/api/v1/packages/rolled"
	s.send(t, http.MethodPut, path, rolledPackage("A", "img:1"))
	for _, key := range []string{"of-package-1", "of-package-2"} {
		s.create(t, key, fields{"package_name": "rolled", "target_envs": []string{"home", "grpc-1"}})
	}
	s.settled(t)
	before, err := s.fleet()
	if err != nil {
		t.Fatal(err)
	}
	s.send(t, http.MethodPut, path, rolledPackage("A", "img:2"))
	for _, key := range []string{"of-package-1", "of-package-2"} {
		s.becomes(t, key, "runs the new function everywhere", func(_ model.Deployment, units []model.UnitStatus) bool {
			return len(units) == 2 && !slices.ContainsFunc(unitIDs(units), func(id string) bool {
				return slices.Contains(unitIDs(before.units[key]), id)
			})
		})
	}
	s.settled(t)
	header := http.Header{"Content-Type": {"application/json"}}
	response, answer, err := s.Do(t.Context(), s.Nodes[0], http.MethodPut, path, header, rolledPackage("B", "img:2"))
	if err != nil || response.StatusCode != http.StatusConflict || !strings.Contains(string(answer), "of-package-1") {
		t.Errorf("a class that is deployed vanishes: got %+v, %s, %v, want a conflict that names a deployment", response, answer, err)
	}
	s.settled(t)
}

// packageDelete deletes the package of packageUpdate and what is deployed of it.
func (s *strategySuite) packageDelete(t *testing.T) {
	header := http.Header{"Content-Type": {"application/json"}}
	response, answer, err := s.Do(t.Context(), s.Nodes[0], http.MethodDelete, "/api/v1/packages/rolled?cascade=false", header, "")
	if err != nil || response.StatusCode != http.StatusConflict {
		t.Errorf("a package with deployments: got %+v, %s, %v, want a conflict", response, answer, err)
	}
	s.send(t, http.MethodDelete, "/api/v1/packages/rolled?cascade=true", "")
	delete(s.wanted, "of-package-1")
	delete(s.wanted, "of-package-2")
	s.settled(t)
	waitFor(t, strategyLimit, "the package is gone", func() error {
		status, _, err := s.Get(s.Nodes[0], "/api/v1/packages/rolled")
		if err == nil && status != http.StatusNotFound {
			err = fmt.Errorf("status %d", status)
		}
		return err
	})
}
