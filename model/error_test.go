package model_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/oprc/oprc-pm/model"
)

func TestInvalid(t *testing.T) {
	t.Parallel()
	if err := model.Invalid(nil); err != nil {
		t.Errorf("got %v for no problems, want nil", err)
	}
	err := model.Invalid([]model.Problem{{Path: "a.b", Message: "is required"}, {Message: "too long"}})
	wantEqual(t, err.Error(), "a.b: is required; too long")
	wantEqual(t, problemsOf(t, err), []string{"a.b: is required", "too long"})
}

func TestErrorCause(t *testing.T) {
	t.Parallel()
	err := &model.Error{Code: model.CodeUnavailable, Message: "no leader", Err: io.ErrUnexpectedEOF}
	wantEqual(t, err.Error(), "no leader: unexpected EOF")
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("got an error without its cause")
	}
}

func TestCodeOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		err  error
		want model.Code
	}{
		{"nil", nil, ""},
		{"own", model.Errorf(model.CodeNotFound, "package %s does not exist", "p"), model.CodeNotFound},
		{"wrapped", fmt.Errorf("get: %w", model.Errorf(model.CodeConflict, "taken")), model.CodeConflict},
		{"foreign", io.EOF, model.CodeInternal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantEqual(t, model.CodeOf(tt.err), tt.want)
		})
	}
}
