package model

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"
)

// binding carries one run of the binder: it copies a tree of nodes into Go
// values and collects everything that does not fit.
type binding struct {
	problems
	// unknown are the paths of members that no field takes.
	unknown []string
}

// bindFunc copies a node into a settable value, or reports why it cannot.
type bindFunc func(b *binding, n *node, v reflect.Value)

// enum is a text type that allows only certain values.
type enum interface{ allowed() []string }

// caselessEnum is an enum whose values may be written in any case in input.
type caselessEnum interface{ anyCase() }

var (
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[Duration]()
	shareType    = reflect.TypeFor[Share]()
	enumType     = reflect.TypeFor[enum]()
	textMapType  = reflect.TypeFor[map[string]string]()
	systemFields = map[reflect.Type]bool{
		reflect.TypeFor[Meta]():               true,
		reflect.TypeFor[DeploymentObserved](): true,
	}
)

// bindFuncs caches a bindFunc per reflect.Type: working one out costs far more
// than running it.
var bindFuncs sync.Map

// binderOf returns the bindFunc of a type. It panics for a type that documents
// cannot hold, which a test of every document type shows.
func binderOf(t reflect.Type) bindFunc {
	if cached, ok := bindFuncs.Load(t); ok {
		return cached.(bindFunc)
	}
	made := makeBinder(t)
	bindFuncs.Store(t, made)
	return made
}

func makeBinder(t reflect.Type) bindFunc {
	switch {
	case t == timeType:
		return bindTime
	case t == textMapType:
		return bindTextMap
	case t == durationType, t == shareType:
		return bindNumberText
	case t.Implements(enumType):
		_, anyCase := reflect.Zero(t).Interface().(caselessEnum)
		return makeEnumBinder(reflect.Zero(t).Interface().(enum).allowed(), anyCase)
	}
	switch t.Kind() {
	case reflect.String:
		return bindText
	case reflect.Bool:
		return bindBool
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return bindUint
	case reflect.Float64:
		return bindFloat
	case reflect.Pointer:
		return makeOptionalBinder(t)
	case reflect.Slice:
		return makeListBinder(t)
	case reflect.Map:
		return makeMapBinder(t)
	case reflect.Struct:
		return makeStructBinder(t)
	default:
		panic(fmt.Sprintf("model: no binder for %v", t))
	}
}

func makeOptionalBinder(t reflect.Type) bindFunc {
	element := t.Elem()
	bind := binderOf(element)
	return func(b *binding, n *node, v reflect.Value) {
		if n.kind == nodeNull {
			return
		}
		before := b.count()
		target := reflect.New(element)
		bind(b, n, target.Elem())
		// A scalar that did not fit stays absent, or rules that compare it with
		// others would speak of a zero nobody wrote.
		if b.count() == before || element.Kind() == reflect.Struct {
			v.Set(target)
		}
	}
}

func makeListBinder(t reflect.Type) bindFunc {
	bind := binderOf(t.Elem())
	return func(b *binding, n *node, v reflect.Value) {
		switch {
		case n.kind == nodeNull && n.plain:
			return
		case n.kind != nodeList:
			b.report("must be a list, got %s", n.describe())
			return
		case len(n.items) > maxItems:
			b.report("must not have more than %d items, got %d", maxItems, len(n.items))
			return
		}
		list := reflect.MakeSlice(t, len(n.items), len(n.items))
		for i := range n.items {
			b.enterIndex(i)
			bind(b, &n.items[i], list.Index(i))
			b.leave()
		}
		v.Set(list)
	}
}

func makeMapBinder(t reflect.Type) bindFunc {
	bind := binderOf(t.Elem())
	return func(b *binding, n *node, v reflect.Value) {
		if !b.wantObject(n) {
			return
		}
		object := reflect.MakeMapWithSize(t, len(n.items))
		for i, name := range n.names {
			b.enter(name)
			key := reflect.ValueOf(name)
			if object.MapIndex(key).IsValid() {
				b.report("is given twice")
			}
			element := reflect.New(t.Elem()).Elem()
			bind(b, &n.items[i], element)
			object.SetMapIndex(key, element)
			b.leave()
		}
		v.Set(object)
	}
}

// bindTextMap is the binder of the map type that packages are full of.
func bindTextMap(b *binding, n *node, v reflect.Value) {
	if !b.wantObject(n) {
		return
	}
	object := make(map[string]string, len(n.items))
	for i, name := range n.names {
		text, ok := textOf(&n.items[i])
		_, twice := object[name]
		if !ok || twice {
			b.enter(name)
			if twice {
				b.report("is given twice")
			}
			if !ok {
				b.report("must be text, got %s", n.items[i].describe())
			}
			b.leave()
		}
		object[name] = text
	}
	v.Set(reflect.ValueOf(object))
}

// wantObject reports whether n is an object that may be bound. A bare null of
// YAML stands for an empty one and needs no binding.
func (b *binding) wantObject(n *node) bool {
	switch {
	case n.kind == nodeNull && n.plain:
		return false
	case n.kind != nodeObject:
		b.report("must be an object, got %s", n.describe())
		return false
	case len(n.items) > maxItems:
		b.report("must not have more than %d fields, got %d", maxItems, len(n.items))
		return false
	}
	return true
}

// field is how one member of an object is bound.
type field struct {
	name string
	// alias is another name that input may use; empty: none.
	alias string
	index int
	bind  bindFunc
	// required: the member must be present. It is set only where the zero value
	// is a legal value; other absences are found by validation.
	required bool
	// ignored: the member is known and skipped, as it is written by the store.
	ignored bool
}

func makeStructBinder(t reflect.Type) bindFunc {
	fields := fieldsOf(t)
	byName := make(map[string]int, len(fields))
	for i, f := range fields {
		byName[f.name] = i
		if f.alias != "" {
			byName[f.alias] = i
		}
	}
	return func(b *binding, n *node, v reflect.Value) {
		if b.wantObject(n) {
			b.bindFields(fields, byName, n, v)
		}
	}
}

func (b *binding) bindFields(fields []field, byName map[string]int, n *node, v reflect.Value) {
	var seen uint64
	var unknown map[string]bool
	for i, name := range n.names {
		at, known := byName[name]
		b.enter(name)
		switch {
		case !known && unknown[name], known && seen&(1<<at) != 0:
			b.report("is given twice")
		case !known:
			if unknown == nil {
				unknown = make(map[string]bool)
			}
			unknown[name] = true
			b.noteUnknown()
		default:
			seen |= 1 << at
			if f := fields[at]; !f.ignored {
				f.bind(b, &n.items[i], v.Field(f.index))
			}
		}
		b.leave()
	}
	for i, f := range fields {
		if f.required && seen&(1<<i) == 0 {
			b.reportAt(f.name, "is required")
		}
	}
}

// noteUnknown remembers the path of a member that no field takes.
func (b *binding) noteUnknown() {
	if len(b.unknown) < maxProblems {
		b.unknown = append(b.unknown, b.path())
	}
}

// fieldsOf lists the members of a struct type.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && systemFields[f.Type] {
			for j := range f.Type.NumField() {
				fields = append(fields, field{name: memberOf(f.Type.Field(j)), ignored: true})
			}
			continue
		}
		if f.Tag.Get("bind") == "ignored" {
			fields = append(fields, field{name: memberOf(f), ignored: true})
			continue
		}
		fields = append(fields, field{
			name:     memberOf(f),
			alias:    f.Tag.Get("alias"),
			index:    i,
			bind:     binderOf(f.Type),
			required: f.Tag.Get("bind") == "required",
		})
	}
	if len(fields) > 64 {
		panic(fmt.Sprintf("model: %v has more fields than the binder can track", t))
	}
	return fields
}

// memberOf is the JSON name of a field.
func memberOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}
