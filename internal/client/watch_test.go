package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// event is one change as the server writes it; last says that it is the last of
// its index.
func event(index int, key string, last bool) string {
	id := ""
	if last {
		id = fmt.Sprintf("id: %d\n", index)
	}
	return fmt.Sprintf("%sevent: put\ndata: {\"index\":%d,\"type\":\"put\",\"kind\":\"package\",\"key\":%q,\"document\":{\"name\":%q}}\n\n", id, index, key, key)
}

// breaking serves the changes a to f of indexes 5, 6 and 8, and breaks every
// connection after cut messages.
func breaking(t *testing.T, cut int, since *[]string) http.HandlerFunc {
	t.Helper()
	changes := []struct {
		index int
		text  string
	}{
		{5, event(5, "a", true)}, {6, event(6, "b", false)}, {6, event(6, "c", false)}, {6, event(6, "d", true)},
		{7, ": heartbeat 7\nid: 7\n\n"}, {8, event(8, "e", false)}, {8, event(8, "f", true)},
	}
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		*since = append(*since, r.URL.Query().Get("since"))
		mu.Unlock()
		from, _ := strconv.Atoi(r.URL.Query().Get("since"))
		w.Header().Set("Content-Type", "text/event-stream")
		sent := 0
		for _, change := range changes {
			if change.index <= from {
				continue
			}
			if sent == cut {
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			_, _ = io.WriteString(w, change.text)
			sent++
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
}

// Each change arrives exactly once and in order, wherever connections break, in
// the middle of an index included.
func TestWatchResumes(t *testing.T) {
	t.Parallel()
	for _, cut := range []int{3, 4, 5, 6, 7} {
		t.Run(strconv.Itoa(cut), func(t *testing.T) {
			t.Parallel()
			var since []string
			server := serve(t, breaking(t, cut, &since))
			w := newClient(t, nil, server).Watch(t.Context(), 4, storage.KindPackage)
			defer w.Close()
			var got string
			for range 6 {
				change, err := w.Next()
				if err != nil {
					t.Fatalf("after %q: %v", got, err)
				}
				got += change.Key
			}
			if got != "abcdef" {
				t.Errorf("got %q, want abcdef (connections from %v)", got, since)
			}
		})
	}
}

// A stream that falls silent is taken up at another server.
func TestWatchGoesToTheNextServer(t *testing.T) {
	t.Parallel()
	var since []string
	working := serve(t, breaking(t, 100, &since))
	busy := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 503, `{"error":"all watch streams are taken","code":"unavailable"}`)
	})
	w := newClient(t, nil, refusing(t), busy, working).Watch(t.Context(), 5)
	defer w.Close()
	change, err := w.Next()
	if err != nil {
		t.Fatal(err)
	}
	want := Change{Index: 6, Type: storage.EventPut, Kind: storage.KindPackage, Key: "b", Document: []byte(`{"name":"b"}`)}
	if diff := cmp.Diff(want, change); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWatchErrors(t *testing.T) {
	t.Parallel()
	gone := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 410, `{"error":"too old","code":"gone","oldest":17}`)
	})
	w := newClient(t, nil, gone).Watch(t.Context(), 4)
	defer w.Close()
	_, err := w.Next()
	var answered *Error
	if !errors.As(err, &answered) || answered.Code != model.CodeGone || answered.Oldest != 17 {
		t.Errorf("too old: got %v", err)
	}

	w = newClient(t, func(c *Config) { c.Timeout = 200 * time.Millisecond }, refusing(t)).Watch(t.Context(), 4)
	defer w.Close()
	if _, err := w.Next(); model.CodeOf(err) != model.CodeUnavailable {
		t.Errorf("nobody there: got %v", err)
	}

	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	w = newClient(t, nil, gone).Watch(ctx, 4)
	defer w.Close()
	if _, err := w.Next(); !errors.Is(err, why) {
		t.Errorf("cancelled: got %v", err)
	}
}

// A delete has no document, whichever way the server writes that.
func TestWatchDelete(t *testing.T) {
	t.Parallel()
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "id: 5\nevent: delete\ndata: {\"index\":5,\"type\":\"delete\",\"kind\":\"unit\",\"key\":\"d/c/u\",\"document\":null}\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	w := newClient(t, nil, server).Watch(t.Context(), 4)
	defer w.Close()
	change, err := w.Next()
	if err != nil {
		t.Fatal(err)
	}
	if change.Type != storage.EventDelete || change.Document != nil || change.Kind != storage.KindUnit {
		t.Errorf("got %+v", change)
	}
}
