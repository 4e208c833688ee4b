package model_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
)

// problemsOf returns the problems of a CodeInvalid error as text. It fails the
// test when err is something else.
func problemsOf(tb testing.TB, err error) []string {
	tb.Helper()
	if err == nil {
		return nil
	}
	var e *model.Error
	if !errors.As(err, &e) || e.Code != model.CodeInvalid || len(e.Problems) == 0 {
		tb.Fatalf("got %#v, want a CodeInvalid error with problems", err)
	}
	return textsOf(e.Problems)
}

func textsOf(problems []model.Problem) []string {
	var texts []string
	for _, p := range problems {
		texts = append(texts, p.String())
	}
	return texts
}

func wantEqual(tb testing.TB, got, want any) {
	tb.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		tb.Errorf("unexpected result (-want +got):\n%s", diff)
	}
}

func readExample(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile("../deploy/examples/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func ptr[T any](v T) *T { return &v }

// nested is a JSON text of lists in lists.
func nested(depth int) string {
	return strings.Repeat("[", depth) + strings.Repeat("]", depth)
}
