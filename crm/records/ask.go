package records

import (
	"context"
	"sync"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/model"
)

// outcome is what one cluster answered.
type outcome[T any] struct {
	cluster string
	value   T
	err     error
}

// askAll puts a question to clusters in parallel and returns their outcomes in
// the same order. It returns when all have answered or are out of time.
func askAll[T any](ctx context.Context, r *Reader, clusters []string, question func(context.Context, string, crm.Client) (T, error)) ([]outcome[T], error) {
	select {
	case r.lists <- struct{}{}:
		defer func() { <-r.lists }()
	case <-ctx.Done():
		return nil, &model.Error{Code: model.CodeUnavailable, Message: "too many questions to all clusters are being answered; try again", Err: ctx.Err()}
	}
	outcomes := make([]outcome[T], len(clusters))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(r.cfg.Parallel, len(clusters)) {
		workers.Go(func() {
			for i := range next {
				outcomes[i] = ask(ctx, r, clusters[i], question)
			}
		})
	}
	for i := range clusters {
		next <- i
	}
	close(next)
	workers.Wait()
	return outcomes, nil
}

// ask puts a question to one cluster, within its own deadline.
func ask[T any](ctx context.Context, r *Reader, cluster string, question func(context.Context, string, crm.Client) (T, error)) outcome[T] {
	out := outcome[T]{cluster: cluster}
	client, ok := r.fleet.Client(cluster)
	if !ok {
		out.err = errNoClient
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	if out.err = r.slots.acquire(ctx, cluster); out.err != nil {
		return out
	}
	defer r.slots.release(cluster)
	out.value, out.err = question(ctx, cluster, client)
	return out
}

// slots bounds how many questions each cluster is asked at once.
type slots struct {
	perCluster int

	// mu guards byCluster, which holds the clusters that are being asked.
	mu        sync.Mutex
	byCluster map[string]*slot
}

type slot struct {
	taken chan struct{}
	// users hold the slot or wait for it; without any it is dropped.
	users int
}

func (s *slots) acquire(ctx context.Context, cluster string) error {
	s.mu.Lock()
	one := s.byCluster[cluster]
	if one == nil {
		one = &slot{taken: make(chan struct{}, s.perCluster)}
		s.byCluster[cluster] = one
	}
	one.users++
	s.mu.Unlock()
	select {
	case one.taken <- struct{}{}:
		return nil
	case <-ctx.Done():
		s.leave(cluster, one)
		return errBusy
	}
}

func (s *slots) release(cluster string) {
	s.mu.Lock()
	one := s.byCluster[cluster]
	s.mu.Unlock()
	<-one.taken
	s.leave(cluster, one)
}

func (s *slots) leave(cluster string, one *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(s.byCluster, cluster)
	}
}
