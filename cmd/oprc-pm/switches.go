package main

import (
	"context"
	"fmt"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
)

// keepSwitches carries over to a set what people have switched on the server: a
// pause, a cordon, a drain. Files seldom hold these, and whoever applies a file
// again does not mean to end what somebody else holds on to at that moment.
// resume and uncordon do that.
func (p *program) keepSwitches(ctx context.Context, c *client.Client, set *manifests) error {
	kept := func(name, word, end string) {
		_, _ = fmt.Fprintf(p.err, "%s stays %s, which the file does not say; oprc-pm %s ends that\n", name, word, end)
	}
	for i := range set.clusters {
		wanted := &set.clusters[i]
		present, err := c.GetCluster(ctx, wanted.Name)
		if err != nil && !client.NotFound(err) {
			return fmt.Errorf("read cluster/%s: %w", wanted.Name, err)
		}
		if present.Cordoned && !wanted.Cordoned {
			wanted.Cordoned = true
			kept("cluster/"+wanted.Name, "cordoned", "uncordon "+wanted.Name)
		}
		if present.Draining && !wanted.Draining {
			wanted.Draining = true
			kept("cluster/"+wanted.Name, "draining", "uncordon "+wanted.Name)
		}
	}
	for i := range set.deployments {
		wanted := &set.deployments[i]
		present, err := c.GetDeployment(ctx, wanted.Key)
		if err != nil && !client.NotFound(err) {
			return fmt.Errorf("read deployment/%s: %w", wanted.Key, err)
		}
		if pausedRollout(present) && present.DeletionRequestedAt == nil && !pausedRollout(*wanted) {
			rollout := model.Rollout{}
			if wanted.Rollout != nil {
				rollout = *wanted.Rollout
			}
			rollout.Paused = true
			wanted.Rollout = &rollout
			kept("deployment/"+wanted.Key, "paused", "rollout resume "+wanted.Key)
		}
	}
	return nil
}

func pausedRollout(d model.Deployment) bool { return d.Rollout != nil && d.Rollout.Paused }
