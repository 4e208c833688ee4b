package httpapi

import (
	"bytes"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// handleListRevisions answers with the kept revisions of a deployment, the
// oldest first.
func (s *Server) handleListRevisions(rq request) error {
	key, err := rq.pathParam("key")
	if err != nil {
		return err
	}
	opts, err := rq.readOptions()
	if err != nil {
		return err
	}
	var docs [][]byte
	exists := false
	_, err = rq.view(opts, func(r storage.Reader) error {
		docs = docs[:0]
		doc, err := r.Get(storage.DeploymentKey(key))
		if exists = doc != nil; err != nil || !exists {
			return err
		}
		return storage.ListRevisions(r, key, func(_ uint64, record []byte) (bool, error) {
			docs = append(docs, bytes.Clone(record))
			return true, nil
		})
	})
	switch {
	case err != nil:
		return err
	case !exists:
		return deploymentMissing(key)
	}
	return rq.answerDocuments(docs)
}

func deploymentMissing(key string) error {
	return model.Errorf(model.CodeNotFound, "deployment %q does not exist", key)
}

func revisionMissing(key string, number uint64) error {
	return model.Errorf(model.CodeNotFound, "deployment %q has no revision %d (any more)", key, number)
}

func (s *Server) handleGetRevision(rq request) error {
	key, err := rq.pathParam("key")
	if err != nil {
		return err
	}
	text, err := rq.pathParam("revision")
	if err != nil {
		return err
	}
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil || number == 0 {
		return invalidField("revision", "path parameter revision must be a number from 1, not %q", printable([]byte(text)))
	}
	opts, err := rq.readOptions()
	if err != nil {
		return err
	}
	var record []byte
	_, err = rq.view(opts, func(r storage.Reader) error {
		found, err := r.Get(storage.RevisionKey(key, number))
		record = bytes.Clone(found)
		return err
	})
	switch {
	case err != nil:
		return err
	case record == nil:
		return revisionMissing(key, number)
	}
	return rq.answerJSON(fasthttp.StatusOK, append(record, '\n'))
}

// readDeployment reads a deployment's document.
func readDeployment(r storage.Reader, key string) (d model.Deployment, found bool, err error) {
	doc, err := r.Get(storage.DeploymentKey(key))
	if err != nil || doc == nil {
		return d, false, err
	}
	d, err = model.ParseDeployment(doc)
	return d, true, err
}

// returnTo chooses the revision that a rollback leads to: wanted or, for 0, the
// newest one that ran everywhere and asks for something else than the present
// one does.
func returnTo(d model.Deployment, revisions []model.Revision, wanted uint64) (model.Revision, error) {
	present := ""
	for _, r := range revisions {
		if r.Revision == wanted {
			return r, nil
		}
		if r.Revision == d.Revision && r.Generation == d.Generation {
			present = r.Template
		}
	}
	if wanted != 0 {
		return model.Revision{}, revisionMissing(d.Key, wanted)
	}
	for i := len(revisions) - 1; i >= 0; i-- {
		r := revisions[i]
		if r.GoodSince != nil && r.Template != present {
			return r, nil
		}
	}
	return model.Revision{}, model.Errorf(model.CodeConflict, "deployment %q has no earlier revision that ran everywhere; name one", d.Key)
}
