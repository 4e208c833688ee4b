package cluster_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/oprc/oprc-pm/internal/testcluster"
	"github.com/oprc/oprc-pm/storage"
)

// BenchmarkApply measures writes through the leader and through a follower, one
// at a time and many at once. All nodes share one machine and one disk.
func BenchmarkApply(b *testing.B) {
	for _, size := range []int{1, 3} {
		for _, at := range []string{"leader", "follower"} {
			if size == 1 && at == "follower" {
				continue
			}
			b.Run(fmt.Sprintf("nodes=%d/at=%s", size, at), func(b *testing.B) {
				c := testcluster.New(b, size)
				i := c.Leader(b)
				if at == "follower" {
					i = (i + 1) % size
				}
				node := c.Node(i)
				var n atomic.Int64
				put := func() {
					cmd := testcluster.Put(fmt.Sprintf("p%d", n.Add(1)%1000), fmt.Sprint(n.Load()))
					if _, err := node.Apply(context.Background(), storage.Request{Command: cmd}); err != nil {
						b.Error(err)
					}
				}
				b.Run("alone", func(b *testing.B) {
					for b.Loop() {
						put()
					}
				})
				b.Run("many", func(b *testing.B) {
					b.SetParallelism(64)
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							put()
						}
					})
				})
			})
		}
	}
}

// BenchmarkView measures linearizable reads of one package.
func BenchmarkView(b *testing.B) {
	for _, size := range []int{1, 3} {
		b.Run(fmt.Sprintf("nodes=%d", size), func(b *testing.B) {
			c := testcluster.New(b, size)
			node := c.Node(c.Leader(b))
			if _, err := node.Apply(context.Background(), storage.Request{Command: testcluster.Put("p", "1")}); err != nil {
				b.Fatal(err)
			}
			key := storage.PackageKey("p")
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_, err := node.View(context.Background(), storage.ReadOptions{}, func(r storage.Reader) error {
						_, err := r.Get(key)
						return err
					})
					if err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
