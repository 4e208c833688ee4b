package httpapi

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func (s *Server) handleGetDeployment(rq request) error {
	key, err := rq.pathParam("key")
	if err != nil {
		return err
	}
	return rq.answerDocument("deployment", storage.DeploymentPrefix, key)
}

// handlePostDeployment creates or replaces: existing clients know no other
// status than 200 here.
func (s *Server) handlePostDeployment(rq request) error {
	return rq.storeDeployment("", func(storage.Outcome) int { return fasthttp.StatusOK })
}

func (s *Server) handlePutDeployment(rq request) error {
	key, err := rq.pathParam("key")
	if err != nil {
		return err
	}
	return rq.storeDeployment(key, createdOr200)
}

// storeDeployment stores the desired state in the body, and waits for the
// outcome when asked to. inPath, when not empty, is what its key must be.
func (rq request) storeDeployment(inPath string, code func(storage.Outcome) int) error {
	key, pre, err := rq.writeOptions()
	if err != nil {
		return err
	}
	wait, err := rq.queryWait()
	if err != nil {
		return err
	}
	dryRun, _, err := rq.queryBool("dry_run")
	if err != nil {
		return err
	}
	d, err := decodeBody(rq, model.DecodeDeployment)
	if err != nil {
		return err
	}
	if inPath != "" {
		if err := requireName("key", d.Key, inPath); err != nil {
			return err
		}
	}
	mode, err := pre.mode(storage.Upsert)
	if err != nil {
		return err
	}
	cmd, err := storage.NewPutDeployment(d, mode, pre.version)
	if err != nil {
		return err
	}
	if dryRun {
		return rq.dryRunDeployment(cmd, pre)
	}
	res, err := rq.apply(cmd, requestID(key, ""))
	if err != nil {
		return pre.explain(err)
	}
	rq.setETag(res.ResourceVersion)
	answer := deploymentAnswer{id: d.Key, status: outcomeWord(res.Outcome), generation: res.Generation}
	answer.message = "Deployment " + answer.status + " successfully"
	if wait == 0 {
		return rq.answerJSON(code(res.Outcome), answer.append(nil))
	}
	return rq.answerWhenSettled(answer, res, code(res.Outcome), wait)
}

// answerWhenSettled waits for the deployment to run or to be known down. When
// the time is up first, the answer is 202: the wish is stored, not yet reality.
func (rq request) answerWhenSettled(answer deploymentAnswer, res storage.Result, code int, wait time.Duration) error {
	last, settled, err := rq.awaitDeployment(answer.id, res.Index, wait, func(d *observedDeployment) bool {
		return d.settled(res.Generation)
	})
	if err != nil {
		// The write is done; that nobody could watch its effect does not undo it.
		rq.s.deps.Logger.Warn("watch deployment for a waiting client", "key", answer.id, "err", err)
	}
	switch {
	case settled && last.deleting():
		answer.status, answer.message = "deleted", "The deployment was deleted meanwhile"
	case last == nil:
		answer.status, answer.message = "deploying", "The deployment is stored; its state is not known yet"
		code = fasthttp.StatusAccepted
	case settled && last.Generation > res.Generation:
		// A return to an earlier revision is one, and runs: not what was asked for.
		answer.status, answer.message = "replaced", "Another change or a return to an earlier revision took its place"
	case settled && last.Condition != model.DeploymentDown && last.failed(res.Generation):
		answer.status, answer.message = "failed", "The rollout has failed; what ran before was kept"
	case settled && last.Condition == model.DeploymentRunning:
		answer.status, answer.message = "running", "The deployment runs in all its environments"
	case settled:
		answer.status, answer.message = "down", "The deployment is down"
	default:
		answer.status, answer.message = "deploying", "The deployment is stored and still being brought up"
		code = fasthttp.StatusAccepted
	}
	if !last.deleting() {
		answer.condition = last.Condition
		if last.Status != nil && last.Status.LastError != "" {
			answer.message += ": " + last.Status.LastError
		}
	}
	return rq.answerJSON(code, answer.append(nil))
}

// deploymentAnswer is the answer to a put of a deployment.
type deploymentAnswer struct {
	id, status, message string
	generation          uint64
	// condition is empty unless the client waited.
	condition model.DeploymentCondition
}

func (a deploymentAnswer) append(dst []byte) []byte {
	dst = appendOutcome(dst, a.id, a.status, a.message)
	dst = append(dst, `,"generation":`...)
	dst = strconv.AppendUint(dst, a.generation, 10)
	if a.condition != "" {
		dst = append(dst, `,"condition":`...)
		dst = appendText(dst, string(a.condition), false)
	}
	return append(dst, '}', '\n')
}

// handleDeleteDeployment marks the deployment deleted; with ?wait= it answers
// once its last unit is gone. With ?cluster= it is taken off one cluster only.
// deleted_envs are the environments that hold a unit
// when the request arrives, or those it targets when none does.
func (s *Server) handleDeleteDeployment(rq request) error {
	name, err := rq.pathParam("key")
	if err != nil {
		return err
	}
	cluster, err := rq.queryAlias("cluster", "env")
	if err != nil {
		return err
	}
	if cluster != "" {
		return rq.removeFromCluster(cluster)
	}
	key, pre, err := rq.writeOptions()
	if err != nil {
		return err
	}
	wait, err := rq.queryWait()
	if err != nil {
		return err
	}
	envs, err := rq.environmentsOf(name)
	if err != nil {
		return err
	}
	res, err := rq.apply(storage.DeleteDeployment{Key: name, IfMatch: pre.version}, requestID(key, ""))
	if err != nil {
		return pre.explain(err)
	}
	code, message := fasthttp.StatusOK, "Deployment deleted across environments"
	if wait > 0 {
		last, gone, err := rq.awaitDeployment(name, res.Index, wait, func(d *observedDeployment) bool {
			// A newer put takes the delete back; there is nothing left to wait for.
			return d == nil || d.DeletionRequestedAt == nil
		})
		if err != nil {
			s.deps.Logger.Warn("watch deployment for a waiting client", "key", name, "err", err)
		}
		switch {
		case !gone:
			code, message = fasthttp.StatusAccepted, "Deployment is being deleted across environments"
		case last != nil:
			message = "Deployment was deleted and has been created again"
		}
	}
	return rq.answerJSON(code, appendDeletion(nil, name, message, envs))
}

func appendDeletion(dst []byte, id, message string, envs []string) []byte {
	dst = append(dst, `{"message":`...)
	dst = appendText(dst, message, false)
	dst = append(dst, `,"id":`...)
	dst = appendText(dst, id, false)
	dst = append(dst, `,"deleted_envs":[`...)
	for i, env := range envs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, env, false)
	}
	return append(dst, ']', '}', '\n')
}

// environmentsOf names where a deployment has units or, without any, should
// have. A deployment that does not exist has none.
func (rq request) environmentsOf(name string) ([]string, error) {
	var envs []string
	_, err := rq.view(storage.ReadOptions{}, func(r storage.Reader) error {
		envs = nil
		units, err := storage.DecodeUnits(r, name)
		if err != nil {
			return err
		}
		for _, unit := range units {
			envs = append(envs, unit.Cluster)
		}
		if len(envs) > 0 {
			return nil
		}
		doc, err := r.Get(storage.DeploymentKey(name))
		if err != nil || doc == nil {
			return err
		}
		d, err := model.ParseDeployment(doc)
		if err != nil {
			return fmt.Errorf("decode deployment %q: %w", name, err)
		}
		envs = d.Environments()
		return nil
	})
	slices.Sort(envs)
	return slices.Compact(envs), err
}
