package testproc

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// orchestrator creates, changes, pauses, resumes and deletes deployments of its
// own, one write at a time, each sent again until it is acknowledged. It knows
// which there must be afterwards.
type orchestrator struct {
	cluster *Cluster
	id      int
	random  *rand.Rand

	keys []string
	// present are the deployments that exist, paused those of them whose rollout
	// was paused last.
	present, paused           map[string]bool
	created, updated, deleted int
	pauses, sent              int
	faults                    []string
}

func newOrchestrator(c *Cluster, id int, seed uint64) *orchestrator {
	o := &orchestrator{
		cluster: c, id: id, random: rand.New(rand.NewPCG(uint64(id), seed)),
		present: map[string]bool{}, paused: map[string]bool{},
	}
	for i := range orchestratedDeployments / orchestrators {
		o.keys = append(o.keys, fmt.Sprintf("d-%d-%d", id, i))
	}
	return o
}

// run first creates all, then does anything to any of them until ctx ends; the
// write under way is finished, and what is paused is resumed.
func (o *orchestrator) run(ctx context.Context) {
	for _, key := range o.keys {
		o.create(ctx, key)
	}
	for ctx.Err() == nil {
		key := o.keys[o.random.IntN(len(o.keys))]
		switch dice := o.random.IntN(8); {
		case !o.present[key]:
			o.create(ctx, key)
		case dice < 2:
			o.delete(ctx, key)
		case o.paused[key]:
			o.resume(ctx, key)
		case dice == 2:
			o.pause(ctx, key)
		default:
			o.update(ctx, key)
		}
	}
	for _, key := range o.keys {
		if o.paused[key] {
			o.resume(ctx, key)
		}
	}
}

// wish is a deployment in one to three clusters, by name or not, with a setting
// that makes another unit of it, and with any way of changing and of failing over.
func (o *orchestrator) wish(key string) string {
	wish := fields{
		"key": key, "package_name": "shop", "class_key": "A",
		"functions": []fields{{"function_key": "A.f", "config": fields{"V": fmt.Sprint(o.random.IntN(1000))}}},
	}
	if o.random.IntN(2) == 0 {
		var names []string
		for _, n := range o.random.Perm(orchestratedClusters)[:1+o.random.IntN(3)] {
			names = append(names, fmt.Sprintf("edge-%d", n))
		}
		wish["target_envs"] = names
	} else {
		wish["placement"] = fields{"clusters": 1 + o.random.IntN(3)}
	}
	if o.random.IntN(3) == 0 {
		wish["rollout"] = fields{
			"strategy": "waves", "wave": 1 + o.random.IntN(2), "soak": fmt.Sprintf("%dms", 50*o.random.IntN(6)),
			"on_failure": []string{"pause", "continue", "rollback"}[o.random.IntN(3)],
		}
	}
	if o.random.IntN(3) == 0 {
		wish["failover"] = fields{"enabled": true, "toleration": "1s", "failback": o.random.IntN(2) == 0}
	}
	text, _ := json.Marshal(wish) // Strings and numbers are always encodable.
	return string(text)
}

func (o *orchestrator) create(ctx context.Context, key string) {
	switch status, answer := o.send(ctx, http.MethodPost, "/api/v1/deployments", o.wish(key)); {
	case accepted(status):
		o.present[key] = true
		o.created++
	case status == http.StatusConflict: // It is still being deleted.
	default:
		o.fault("create", key, status, answer)
	}
}

// update replaces all of a deployment, and so ends a pause.
func (o *orchestrator) update(ctx context.Context, key string) {
	if o.change(ctx, "update", http.MethodPut, key, "", o.wish(key)) {
		delete(o.paused, key)
		o.updated++
	}
}

func (o *orchestrator) pause(ctx context.Context, key string) {
	if o.change(ctx, "pause", http.MethodPost, key, "/pause", "") {
		o.paused[key] = true
		o.pauses++
	}
}

func (o *orchestrator) resume(ctx context.Context, key string) {
	if o.change(ctx, "resume", http.MethodPost, key, "/resume", "") {
		delete(o.paused, key)
	}
}

func (o *orchestrator) delete(ctx context.Context, key string) {
	if o.change(ctx, "delete", http.MethodDelete, key, "", "") {
		delete(o.present, key)
		delete(o.paused, key)
		o.deleted++
	}
}

// change sends what a deployment that exists must accept.
func (o *orchestrator) change(ctx context.Context, what, method, key, verb, body string) bool {
	status, answer := o.send(ctx, method, "/api/v1/deployments/"+key+verb, body)
	if !accepted(status) {
		o.fault(what, key, status, answer)
	}
	return accepted(status)
}

func accepted(status int) bool { return status >= http.StatusOK && status < http.StatusMultipleChoices }

func (o *orchestrator) fault(what, key string, status int, answer string) {
	o.faults = append(o.faults, fmt.Sprintf("%s %s: status %d: %s", what, key, status, answer))
}

// send sends a request to random nodes until one gives a definite answer.
func (o *orchestrator) send(ctx context.Context, method, path, body string) (status int, answer string) {
	o.sent++
	header := http.Header{"Idempotency-Key": {fmt.Sprintf("o%d-%d", o.id, o.sent)}, "Content-Type": {"application/json"}}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 90*time.Second)
	defer cancel()
	for limit.Err() == nil {
		node := o.cluster.Nodes[o.random.IntN(len(o.cluster.Nodes))]
		try, cancelTry := context.WithTimeout(limit, 12*time.Second)
		response, text, err := o.cluster.Do(try, node, method, path, header, body)
		cancelTry()
		if err == nil && response.StatusCode < http.StatusInternalServerError {
			return response.StatusCode, string(text)
		}
		answer = fmt.Sprintf("%v %s", err, text)
		pause := time.NewTimer(time.Duration(10+o.random.IntN(40)) * time.Millisecond)
		select {
		case <-pause.C:
		case <-limit.Done():
			pause.Stop()
		}
	}
	return 0, answer
}
