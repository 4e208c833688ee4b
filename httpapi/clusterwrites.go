package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func (s *Server) handleCreateCluster(rq request) error {
	return rq.storeCluster("", storage.Create)
}

func (s *Server) handlePutCluster(rq request) error {
	name, err := rq.pathParam("name")
	if err != nil {
		return err
	}
	return rq.storeCluster(name, storage.Upsert)
}

// storeCluster stores the cluster in the body; inPath, when not empty, is what
// its name must be.
func (rq request) storeCluster(inPath string, mode storage.PutMode) error {
	key, pre, err := rq.writeOptions()
	if err != nil {
		return err
	}
	c, err := decodeBody(rq, model.DecodeCluster)
	if err != nil {
		return err
	}
	if inPath != "" {
		if err := requireName("name", c.Name, inPath); err != nil {
			return err
		}
	}
	if mode, err = pre.mode(mode); err != nil {
		return err
	}
	c.ManagedBy = model.ManagedByAPI
	if mode != storage.Create {
		if c.ManagedBy, pre.version, err = rq.managerOf(c, pre.version); err != nil {
			return err
		}
	}
	cmd, err := storage.NewPutCluster(c, mode, pre.version)
	if err != nil {
		return err
	}
	res, err := rq.apply(cmd, requestID(key, ""))
	if err != nil {
		return pre.explain(err)
	}
	return rq.answerCluster(c.Name, createdOr200(res.Outcome), outcomeWord(res.Outcome), res)
}

// managerOf says who manages the cluster that c is to replace. One of the
// configuration is not replaced, but it may be cordoned and drained; the version
// that was looked at must then still be there.
func (rq request) managerOf(c model.Cluster, ifMatch uint64) (model.ClusterManager, uint64, error) {
	present, found, err := rq.storedCluster(c.Name)
	if err != nil || !found || present.ManagedBy != model.ManagedByConfig {
		return model.ManagedByAPI, ifMatch, err
	}
	if ifMatch == 0 {
		ifMatch = present.ResourceVersion
	}
	c.ManagedBy = model.ManagedByConfig
	present.Cordoned, present.Draining = c.Cordoned, c.Draining
	before, err := model.EncodeCluster(present)
	if err != nil {
		return "", 0, fmt.Errorf("encode cluster: %w", err)
	}
	after, err := model.EncodeCluster(c)
	if err != nil {
		return "", 0, fmt.Errorf("encode cluster: %w", err)
	}
	if !bytes.Equal(before, after) {
		return "", 0, model.Errorf(model.CodeConflict,
			"cluster %q is managed by the configuration of the nodes; only cordoned and draining can be changed here", c.Name)
	}
	return model.ManagedByConfig, ifMatch, nil
}

// storedCluster reads a cluster's document.
func (rq request) storedCluster(name string) (c model.Cluster, found bool, err error) {
	_, err = rq.view(storage.ReadOptions{}, func(r storage.Reader) error {
		doc, err := r.Get(storage.ClusterKey(name))
		if err != nil || doc == nil {
			found = false
			return err
		}
		found = true
		if c, err = model.ParseCluster(doc); err != nil {
			return fmt.Errorf("read cluster %q: %w", name, err)
		}
		return nil
	})
	return c, found, err
}

// answerCluster answers a write of a cluster, once this node tells of it: who
// wrote can then read it here.
func (rq request) answerCluster(name string, code int, word string, res storage.Result) error {
	rq.s.seeWrite(res.Index)
	rq.setETag(res.ResourceVersion)
	body := appendOutcome(nil, name, word, "Cluster "+word+" successfully")
	return rq.answerJSON(code, append(body, '}', '\n'))
}

// seeWrite waits a moment until what this node tells of the clusters includes a
// write. The write is done, whether it does or not.
func (s *Server) seeWrite(index uint64) {
	ctx, cancel := context.WithTimeout(s.base, catchUp)
	defer cancel()
	if err := s.deps.Clusters.WaitFor(ctx, index); err != nil {
		s.deps.Logger.Debug("the view of the clusters is behind a write", "index", index, "err", err)
	}
}

func (s *Server) handleCordonCluster(rq request) error {
	return rq.changeCluster("cordoned", func(c *model.Cluster) { c.Cordoned = true })
}

func (s *Server) handleUncordonCluster(rq request) error {
	return rq.changeCluster("uncordoned", func(c *model.Cluster) { c.Cordoned, c.Draining = false, false })
}

func (s *Server) handleDrainCluster(rq request) error {
	return rq.changeCluster("draining", func(c *model.Cluster) { c.Draining = true })
}

// maxChanges is how often a document is read, changed and stored while others
// change it in between.
const maxChanges = 8

// changeCluster changes the cluster of the path, whoever manages it. word is the
// status of the answer.
func (rq request) changeCluster(word string, change func(*model.Cluster)) error {
	name, err := rq.pathParam("name")
	if err != nil {
		return err
	}
	key, pre, err := rq.writeOptions()
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		c, found, err := rq.storedCluster(name)
		switch {
		case err != nil:
			return err
		case !found:
			return pre.explain(clusterMissing(name))
		}
		change(&c)
		version := c.ResourceVersion
		if pre.version != 0 {
			version = pre.version
		}
		cmd, err := storage.NewPutCluster(c, storage.Update, version)
		if err != nil {
			return err
		}
		res, err := rq.apply(cmd, changeID(key, word, version))
		switch {
		case err == nil && res.Outcome == storage.Unchanged:
			return rq.answerCluster(name, fasthttp.StatusOK, "unchanged", res)
		case err == nil:
			return rq.answerCluster(name, fasthttp.StatusOK, word, res)
		case pre.version != 0 || attempt == maxChanges || model.CodeOf(err) != model.CodeFailedPrecondition:
			return pre.explain(err)
		}
	}
}

// changeID is the id of a command that changes a version of a document. A later
// version is another change: the one before has been made, or refused.
func changeID(key, what string, version uint64) string {
	return requestID(key, what+"@"+strconv.FormatUint(version, 10))
}

func (s *Server) handleDeleteCluster(rq request) error {
	name, err := rq.pathParam("name")
	if err != nil {
		return err
	}
	key, pre, err := rq.writeOptions()
	if err != nil {
		return err
	}
	force, _, err := rq.queryBool("force")
	if err != nil {
		return err
	}
	if !force {
		if err := rq.checkUnnamed(name); err != nil {
			return err
		}
	}
	res, err := rq.apply(storage.DeleteCluster{Name: name, IfMatch: pre.version, Force: force}, requestID(key, ""))
	if err != nil {
		return pre.explain(err)
	}
	s.seeWrite(res.Index)
	if s.deps.Configured != nil && s.deps.Configured(name) {
		rq.setIndex(res.Index)
		return rq.answerJSON(fasthttp.StatusOK, append(appendOutcome(nil, name, "deleted", comesBack), '}', '\n'))
	}
	rq.ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

// comesBack warns of a deletion that will not last.
const comesBack = "The cluster is deleted, but the configuration of this node still names it: " +
	"it comes back when a node with that configuration starts to lead, at the latest after a restart. Take it out of the configuration first"

// maxNamed is how many deployments the refusal to delete a cluster names.
const maxNamed = 5

// checkUnnamed refuses while deployments name the cluster in target_envs, also
// when it is drained: without it they are not what they ask for, and what stands
// in for it has nothing to stand in for. A deployment that comes to name it
// between the look and the delete is told so by its conditions.
func (rq request) checkUnnamed(cluster string) error {
	var named []string
	more := 0
	_, err := rq.view(storage.ReadOptions{}, func(r storage.Reader) error {
		named, more = nil, 0
		doc, err := r.Get(storage.ClusterKey(cluster))
		if err != nil || doc == nil {
			return err // the command says what is missing
		}
		return storage.ByEnvironment.Scan(r, cluster, "", func(key string) (bool, error) {
			d, found, err := readDeployment(r, key)
			switch {
			case err != nil || !found || d.DeletionRequestedAt != nil:
			case len(named) == maxNamed:
				more++
			default:
				named = append(named, key)
			}
			return true, err
		})
	})
	if err != nil || len(named) == 0 {
		return err
	}
	list := strings.Join(named, ", ")
	if more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return model.Errorf(model.CodeConflict, "cluster %q is named in target_envs by %s: take it off them first, or force the deletion", cluster, list)
}
