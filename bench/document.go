package bench

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/oprc/oprc-pm/model"
)

const (
	// minDocumentBytes is what a package with a class and a function takes.
	minDocumentBytes = 3 << 9
	maxDocumentBytes = 1 << 20

	// sequenceMark stands before the number that tells the versions of a
	// document apart. The number has a fixed width, so that they are equal in
	// length and differ nowhere else.
	sequenceMark  = "version "
	sequenceWidth = 12
)

// template is a package document of which every version can be made, and
// recognised, without encoding or decoding JSON.
type template struct {
	name string
	// body is version 0 as it is sent; seq is where its number stands.
	body []byte
	seq  int
	// stored is version 0 as a server answers it, from the member "name" on,
	// and storedSeq where its number stands there (see learn).
	stored    []byte
	storedSeq int
}

// newTemplate makes the document of a package, of exactly size bytes as it is
// sent.
func newTemplate(name string, size int) (*template, error) {
	if size < minDocumentBytes || size > maxDocumentBytes {
		return nil, fmt.Errorf("document size is %d bytes, must be %d to %d", size, minDocumentBytes, maxDocumentBytes)
	}
	values := make([]int, 1+size/fillingBytes)
	body, err := encodePackage(name, values)
	if err != nil {
		return nil, err
	}
	for i, missing := 0, size-len(body); i < len(values); i++ {
		values[i] = min(max(missing, 0), fillingBytes)
		missing -= values[i]
	}
	if body, err = encodePackage(name, values); err != nil {
		return nil, err
	}
	seq := sequenceAt(body)
	if seq < 0 || len(body) != size {
		return nil, fmt.Errorf("make document: has %d bytes, want %d", len(body), size)
	}
	return &template{name: name, body: body, seq: seq}, nil
}

// sequenceAt returns where the version number stands, or -1.
func sequenceAt(document []byte) int {
	at := bytes.Index(document, []byte(sequenceMark))
	if at < 0 || at+len(sequenceMark)+sequenceWidth > len(document) {
		return -1
	}
	return at + len(sequenceMark)
}

// encodePackage encodes the package with configuration values of the lengths
// given.
func encodePackage(name string, values []int) ([]byte, error) {
	p := benchPackage(name, values)
	p.SetDefaults()
	if problems := p.Validate(); len(problems) > 0 {
		return nil, fmt.Errorf("make document: %w", model.Invalid(problems))
	}
	members, err := model.EncodePackage(p)
	if err != nil {
		return nil, fmt.Errorf("make document: %w", err)
	}
	return slices.Concat([]byte("{"), members, []byte("}")), nil
}

// benchPackage is a package as they are in the field: one class with two
// functions, and configuration that takes most of the space.
func benchPackage(name string, values []int) model.Package {
	version, description := "1.0.0", sequenceMark+fmt.Sprintf("%0*d", sequenceWidth, 0)
	image, port := "registry.local/bench/record:1.0.0", uint16(8080)
	cpu, memory := model.Quantity("250m"), model.Quantity("128Mi")
	function := func(key string, config map[string]string) model.Function {
		return model.Function{Key: key, Config: config, ProvisionConfig: &model.ProvisionConfig{
			ContainerImage: &image, Port: &port, CPURequest: &cpu, MemoryRequest: &memory,
		}}
	}
	binding := func(name, key string) model.FunctionBinding {
		return model.FunctionBinding{Name: name, FunctionKey: key, AccessModifier: model.AccessPublic}
	}
	return model.Package{
		Name: name, Version: &version,
		Metadata: model.PackageMetadata{Description: &description, Tags: []string{"bench"}},
		Classes: []model.Class{{
			Key:              "Record",
			StateSpec:        &model.StateSpecification{ConsistencyModel: model.ConsistencyStrong, Persistent: true},
			FunctionBindings: []model.FunctionBinding{binding("echo", "Record.echo"), binding("random", "Record.random")},
		}},
		Functions: []model.Function{
			function("Record.echo", map[string]string{"HTTP_PORT": "8080", "LOG_LEVEL": "info"}),
			function("Record.random", filling(values)),
		},
	}
}

// fillingBytes bounds one configuration value.
const fillingBytes = 32 << 10

// filling is configuration with values of the lengths given.
func filling(values []int) map[string]string {
	config := make(map[string]string, len(values))
	for i, length := range values {
		config[fmt.Sprintf("FILL_%03d", i)] = strings.Repeat("x", length)
	}
	return config
}

// appendVersion appends version seq of the document.
func (t *template) appendVersion(dst []byte, seq uint64) []byte {
	at := len(dst) + t.seq
	dst = append(dst, t.body...)
	putSequence(dst[at:at+sequenceWidth], seq)
	return dst
}

func putSequence(digits []byte, seq uint64) {
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = byte('0' + seq%10)
		seq /= 10
	}
}

// learn remembers how the server writes the document, from an answer that holds
// it. The answer must mean what was sent; how it is written (a newer server may
// know more fields) is the server's choice.
func (t *template) learn(answer []byte) error {
	start := t.nameAt(answer)
	if start < 0 {
		return fmt.Errorf("does not hold package %s: %s", t.name, excerpt(answer))
	}
	at := sequenceAt(answer[start:])
	if at < 0 {
		return fmt.Errorf("package %s has lost its version: %s", t.name, excerpt(answer))
	}
	got, err := model.ParsePackage(answer)
	if err != nil {
		return fmt.Errorf("package %s: %w", t.name, err)
	}
	stored := bytes.Clone(answer[start:])
	putSequence(stored[at:at+sequenceWidth], 0)
	seq, err := sequenceOf(answer[start+at:])
	if err != nil {
		return fmt.Errorf("package %s: %w", t.name, err)
	}
	sent, err := model.ParsePackage(t.appendVersion(nil, seq))
	if err != nil {
		return err
	}
	got.Meta = model.Meta{}
	if !reflect.DeepEqual(got, sent) {
		return fmt.Errorf("package %s is not what was sent: %s", t.name, excerpt(answer))
	}
	t.stored, t.storedSeq = stored, at
	return nil
}

// recognise returns which version of the document an answer holds. What the
// server adds (resource version, times) comes before the name and is not looked
// at; from there on every byte counts. learn must have been called.
func (t *template) recognise(answer []byte) (uint64, error) {
	start := t.nameAt(answer)
	if start < 0 {
		return 0, fmt.Errorf("does not hold package %s: %s", t.name, excerpt(answer))
	}
	got, at, end := answer[start:], t.storedSeq, t.storedSeq+sequenceWidth
	if len(got) != len(t.stored) {
		return 0, fmt.Errorf("package %s has %d bytes, want %d: %s", t.name, len(got), len(t.stored), excerpt(answer))
	}
	if !bytes.Equal(got[:at], t.stored[:at]) || !bytes.Equal(got[end:], t.stored[end:]) {
		return 0, fmt.Errorf("package %s is not what was stored: %s", t.name, excerpt(answer))
	}
	return sequenceOf(got[at:])
}

// sequenceOf reads a version number.
func sequenceOf(digits []byte) (uint64, error) {
	seq, err := strconv.ParseUint(string(digits[:sequenceWidth]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read version: %w", err)
	}
	return seq, nil
}

// nameAt returns where the member "name" begins, which is the first of those
// that the user wrote.
func (t *template) nameAt(answer []byte) int {
	const member = `"name":"`
	at := bytes.Index(answer, []byte(member))
	if at < 0 || !bytes.HasPrefix(answer[at+len(member):], []byte(t.name+`"`)) {
		return -1
	}
	return at
}

// excerpt is the beginning of a body, for an error text.
func excerpt(body []byte) string {
	const most = 160
	if len(body) > most {
		return fmt.Sprintf("%.160q…", body)
	}
	return fmt.Sprintf("%q", body)
}
