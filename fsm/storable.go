package fsm

import (
	"strings"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// maxTerm bounds every name and index term in bytes, far above what model lets
// through and far below what the state file can take as a part of a key.
const maxTerm = 4 << 10

// checkStorable is the last line before the log. The rules of names and
// documents are model's and hold long before; what is checked here is only what
// the key space cannot hold, because an entry that no replica can apply stops all
// of them, again and again.
func checkStorable(r storage.Request) error {
	if len(r.ID) > storage.MaxRequestID {
		return model.Errorf(model.CodeInvalid, "request id: at most %d bytes", storage.MaxRequestID)
	}
	var c storableCheck
	switch command := r.Command.(type) {
	case storage.MintClusterID:
		c.term("cluster id", command.ClusterID)
	case storage.PutPackage:
		c.name("package", command.Name)
		c.document(command.Document)
		c.terms("tag", command.Tags)
		c.terms("dependency", command.Dependencies)
	case storage.DeletePackage:
		c.name("package", command.Name)
	case storage.PutDeployment:
		c.name("deployment", command.Key)
		c.document(command.Document)
		c.name("package", command.Package)
		c.terms("environment", command.Environments)
	case storage.DeleteDeployment:
		c.name("deployment", command.Key)
	case storage.RecordUnitStatus:
		c.record(command)
	case storage.PutCluster:
		c.name("cluster", command.Name)
		c.document(command.Document)
	case storage.DeleteCluster:
		c.name("cluster", command.Name)
	case storage.RecordClusterHealth:
		for _, health := range command.Clusters {
			c.name("cluster", health.Name)
		}
		c.events(command.Events)
	case storage.RecordEvents:
		c.events(command.Events)
	case storage.StageRestore:
		c.name("restore", command.ID)
	case storage.AbortRestore:
		c.name("restore", command.ID)
	case storage.CommitRestore:
		c.name("restore", command.ID)
	case storage.UpdateRuntimeState:
		c.name("runtime state", command.Key)
		c.document(command.Document)
	}
	return c.result()
}

// storableCheck keeps the first thing that is wrong.
type storableCheck struct{ err *model.Error }

func (c *storableCheck) result() error {
	if c.err == nil {
		return nil
	}
	return c.err
}

func (c *storableCheck) fail(format string, args ...any) {
	if c.err == nil {
		c.err = model.Errorf(model.CodeInvalid, format, args...)
	}
}

// name checks a part of a document's key, where slashes separate the parts.
func (c *storableCheck) name(what, name string) {
	c.term(what, name)
	if strings.Contains(name, "/") {
		c.fail("%s: a name has no slash: %.64q", what, name)
	}
}

// term checks a part of an index key, where a NUL ends the term.
func (c *storableCheck) term(what, term string) {
	switch {
	case term == "":
		c.fail("%s: must not be empty", what)
	case len(term) > maxTerm:
		c.fail("%s: at most %d bytes", what, maxTerm)
	case strings.Contains(term, "\x00"):
		c.fail("%s: must not hold a NUL: %.64q", what, term)
	}
}

func (c *storableCheck) terms(what string, terms []string) {
	for _, term := range terms {
		c.term(what, term)
	}
}

func (c *storableCheck) record(command storage.RecordUnitStatus) {
	c.name("deployment", command.Deployment)
	for _, unit := range command.Put {
		c.name("cluster", unit.Cluster)
		c.name("unit", unit.ID)
	}
	if command.Revision != nil && command.Revision.Revision == 0 {
		c.fail("revision: counts from 1")
	}
	c.events(command.Events)
}

// events checks what becomes part of an index key: the subject.
func (c *storableCheck) events(events []model.Event) {
	for _, event := range events {
		c.name("kind of an event", event.Kind)
		c.term("subject of an event", event.Name)
	}
}

func (c *storableCheck) document(userLine []byte) {
	if len(userLine) == 0 {
		c.fail("document: must not be empty")
	}
}
