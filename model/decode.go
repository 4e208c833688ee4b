package model

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"unicode/utf8"
)

// Format is how a document is written.
type Format uint8

const (
	// JSON is strict: a number is not text, null stands only where a field is
	// optional.
	JSON Format = iota
	// YAML is for people: a scalar without quotes is taken as text where text
	// is wanted (version: 1.0), and a bare null is an absent value. Where the
	// text itself must be present, in maps and lists, it is taken literally.
	YAML
)

// DecodePackage decodes one package, sets its defaults and validates it. It
// also returns the paths of fields it does not know. The error is a CodeInvalid
// *Error that carries all problems.
func DecodePackage(data []byte, f Format) (Package, []string, error) {
	var p Package
	unknown, err := decodeDocument(data, f, &p, func() problems {
		p.SetDefaults()
		return p.check()
	})
	if err != nil {
		return Package{}, unknown, err
	}
	return p, unknown, nil
}

// DecodeDeployment is DecodePackage for one deployment.
func DecodeDeployment(data []byte, f Format) (Deployment, []string, error) {
	var d Deployment
	unknown, err := decodeDocument(data, f, &d, func() problems {
		d.SetDefaults()
		return d.check()
	})
	if err != nil {
		return Deployment{}, unknown, err
	}
	return d, unknown, nil
}

// DecodeRuntimeState is DecodePackage for one runtime state.
func DecodeRuntimeState(data []byte, f Format) (RuntimeState, []string, error) {
	var s RuntimeState
	unknown, err := decodeDocument(data, f, &s, func() problems {
		s.SetDefaults()
		return s.check()
	})
	if err != nil {
		return RuntimeState{}, unknown, err
	}
	return s, unknown, nil
}

// DecodeCluster is DecodePackage for one cluster.
func DecodeCluster(data []byte, f Format) (Cluster, []string, error) {
	var c Cluster
	unknown, err := decodeDocument(data, f, &c, func() problems {
		c.SetDefaults()
		return c.check()
	})
	if err != nil {
		return Cluster{}, unknown, err
	}
	return c, unknown, nil
}

// decodeDocument binds the only document of data into target and then runs
// check, whose problems come after those of the binding.
func decodeDocument(data []byte, f Format, target any, check func() problems) ([]string, error) {
	root, err := readOne(data, f)
	if err != nil {
		return nil, Invalid([]Problem{problemOf(err)})
	}
	var b binding
	b.bindDocument(root, target, check)
	return b.unknown, Invalid(b.result())
}

// bindDocument binds a whole document and checks what came out. Nothing is said
// twice: rules are not applied to values that could not be bound.
func (b *binding) bindDocument(root *node, target any, check func() problems) {
	v := reflect.ValueOf(target).Elem()
	binderOf(v.Type())(b, root, v)
	if b.omitted > 0 {
		return
	}
	bound, found := b.list, check()
	b.omitted += found.omitted
	for _, p := range found.list {
		covered := false
		for _, earlier := range bound {
			covered = covered || within(p.Path, earlier.Path)
		}
		if !covered {
			b.add(p)
		}
	}
}

// reader yields the documents of an input and the line each begins on.
type reader interface {
	next() (*node, int, error)
}

func newReader(data []byte, f Format) (reader, error) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if !utf8.Valid(data) {
		return nil, Errorf(CodeInvalid, "not valid UTF-8 at byte offset %d", invalidUTF8(data))
	}
	if f == YAML {
		return newYAMLReader(data), nil
	}
	return newJSONReader(data, newBudget()), nil
}

// readOne reads an input that must hold exactly one document, an object.
func readOne(data []byte, f Format) (*node, error) {
	documents, err := newReader(data, f)
	if err != nil {
		return nil, err
	}
	var root *node
	for count := 0; ; count++ {
		n, _, err := documents.next()
		switch {
		case errors.Is(err, io.EOF) && root == nil:
			return nil, Errorf(CodeInvalid, "the body is empty")
		case errors.Is(err, io.EOF):
			return root, nil
		case err != nil:
			return nil, err
		case f == YAML && n.kind == nodeNull && n.text == "" && count < maxDocuments:
			// "---" before or after the document makes empty ones.
		case root != nil:
			return nil, Errorf(CodeInvalid, "must hold one document, there is more after it")
		case n.kind != nodeObject:
			return nil, Errorf(CodeInvalid, "must be an object, got %s", n.describe())
		default:
			root = n
		}
	}
}

// problemOf turns an error of a reader into a problem of the whole document.
func problemOf(err error) Problem {
	var e *Error
	if errors.As(err, &e) {
		return Problem{Message: e.Message}
	}
	return Problem{Message: err.Error()}
}

// invalidUTF8 is the offset of the first byte that is not UTF-8.
func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
	return len(data)
}
