package control

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

const (
	// storeTimeout bounds one read or write while clusters are registered.
	storeTimeout = 10 * time.Second
	// registerPause is the time before registering is tried again.
	registerPause = time.Second
	// registerTries is how often one cluster is written before others may go
	// first: each try fails only when somebody else wrote it at that moment.
	registerTries = 5
)

// register writes the configured clusters that differ from what is stored, and
// waits until the inventory has them. It repeats what fails until ctx ends, and
// tells whether it is done.
func (c *Control) register(ctx context.Context, term uint64) bool {
	waiting := c.cfg.Local
	for {
		var failed []model.Cluster
		for _, cluster := range waiting {
			err := c.registerOne(ctx, term, cluster)
			switch {
			case err == nil:
			case refused(err):
				// The same again would be refused again, and the others must go on.
				c.deps.Logger.Error("configured cluster was refused", "cluster", cluster.Name, "error", err)
			case ctx.Err() != nil:
				return false
			default:
				c.deps.Logger.Warn("configured cluster will be registered again", "cluster", cluster.Name, "error", err)
				failed = append(failed, cluster)
			}
		}
		err := c.catchUp(ctx)
		switch {
		case ctx.Err() != nil:
			return false
		case err != nil:
			c.deps.Logger.Warn("inventory is not up to date yet", "error", err)
		case len(failed) == 0:
			return true
		}
		waiting = failed
		wait.For(ctx, registerPause)
	}
}

// refused tells whether a write was rejected for what it says.
func refused(err error) bool {
	switch model.CodeOf(err) {
	case model.CodeInvalid, model.CodeTooLarge:
		return true
	default:
		return false
	}
}

// registerOne writes one configured cluster, unless it is stored like that.
func (c *Control) registerOne(ctx context.Context, term uint64, cluster model.Cluster) error {
	var err error
	for range registerTries {
		if err = c.tryRegister(ctx, term, cluster); model.CodeOf(err) != model.CodeConflict &&
			model.CodeOf(err) != model.CodeFailedPrecondition && model.CodeOf(err) != model.CodeNotFound {
			return err
		}
	}
	return err
}

func (c *Control) tryRegister(ctx context.Context, term uint64, cluster model.Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	stored, err := c.stored(ctx, cluster.Name)
	if err != nil {
		return err
	}
	cluster.ManagedBy = model.ManagedByConfig
	if stored.exists {
		// These two are people's, whoever manages the rest.
		cluster.Cordoned, cluster.Draining = stored.cluster.Cordoned, stored.cluster.Draining
	}
	cluster.SetDefaults()
	document, err := model.EncodeCluster(cluster)
	if err != nil {
		return err
	}
	if stored.exists && bytes.Equal(document, stored.user) {
		return nil
	}
	put := storage.PutCluster{Name: cluster.Name, Mode: storage.Create, Document: document, ManagedBy: model.ManagedByConfig}
	if stored.exists {
		put.Mode, put.IfMatch = storage.Update, stored.cluster.ResourceVersion
	}
	if _, err := c.deps.Store.Apply(ctx, storage.Request{LeaderTerm: term, Command: put}); err != nil {
		return fmt.Errorf("register cluster %s: %w", cluster.Name, err)
	}
	c.deps.Logger.Info("configured cluster was registered", "cluster", cluster.Name)
	return nil
}

// storedCluster is a cluster's document and its user line.
type storedCluster struct {
	exists  bool
	cluster model.Cluster
	user    []byte
}

func (c *Control) stored(ctx context.Context, name string) (storedCluster, error) {
	var stored storedCluster
	_, err := c.deps.Store.View(ctx, storage.ReadOptions{Consistency: storage.Stale}, func(reader storage.Reader) error {
		document, err := reader.Get(storage.ClusterKey(name))
		if err != nil || document == nil {
			return err
		}
		if stored.cluster, err = model.ParseCluster(document); err != nil {
			return err
		}
		_, user, err := storage.SplitDocument(document)
		stored.exists, stored.user = true, bytes.Clone(user)
		return err
	})
	if err != nil {
		return storedCluster{}, fmt.Errorf("read cluster %s: %w", name, err)
	}
	return stored, nil
}

// catchUp waits until the inventory includes all that is committed here now.
func (c *Control) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	info, err := c.deps.Store.View(ctx, storage.ReadOptions{Consistency: storage.Stale}, func(storage.Reader) error { return nil })
	if err != nil {
		return fmt.Errorf("find the applied index: %w", err)
	}
	return c.deps.Inventory.WaitFor(ctx, info.Index)
}
