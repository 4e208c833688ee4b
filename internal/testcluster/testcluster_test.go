package testcluster

import (
	"context"
	"testing"

	"github.com/oprc/oprc-pm/storage"
)

func TestOneNode(t *testing.T) {
	c := New(t, 1)
	res, err := c.Node(0).Apply(context.Background(), storage.Request{Command: Put("a", "1")})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := res.Outcome, storage.Created; got != want {
		t.Errorf("outcome = %v, want %v", got, want)
	}
}

func TestThreeNodes(t *testing.T) {
	c := New(t, 3)
	for i := range 3 {
		res, err := c.Node(i).Apply(context.Background(), storage.Request{Command: Put("a", "1")})
		if err != nil {
			t.Fatal(err)
		}
		for j := range 3 {
			value, err := Get(context.Background(), c.Node(j), "a", storage.ReadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := value, "1"; got != want {
				t.Errorf("node %d after write %d at %d: value = %q, want %q", j, res.Index, i, got, want)
			}
		}
	}
}
