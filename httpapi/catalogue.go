package httpapi

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/oprc/oprc-pm/storage"
)

// The catalogues list what is inside packages. They decode package by package,
// outside the store's view, and keep the stored form of each item.

// handleListClasses answers with the classes of all packages, their keys
// rewritten to <package>.<class>.
func (s *Server) handleListClasses(rq request) error {
	return rq.answerCatalogue(func(dst []byte, pkg cataloguePackage, filter string) ([]byte, error) {
		for _, class := range pkg.Classes {
			qualified, name, err := qualifyKey(pkg.Name, class)
			if err != nil {
				return nil, fmt.Errorf("read a class of package %q: %w", pkg.Name, err)
			}
			if strings.Contains(name, filter) {
				dst = append(append(dst, itemSeparator...), qualified...)
			}
		}
		return dst, nil
	})
}

// handleListFunctions answers with the functions of all packages, as they are.
func (s *Server) handleListFunctions(rq request) error {
	return rq.answerCatalogue(func(dst []byte, pkg cataloguePackage, filter string) ([]byte, error) {
		for _, function := range pkg.Functions {
			var head struct {
				Key string `json:"key"`
			}
			if err := json.Unmarshal(function, &head); err != nil {
				return nil, fmt.Errorf("read a function of package %q: %w", pkg.Name, err)
			}
			if strings.Contains(head.Key, filter) {
				dst = append(append(dst, itemSeparator...), function...)
			}
		}
		return dst, nil
	})
}

// cataloguePackage is a package whose parts are left encoded.
type cataloguePackage struct {
	Name      string           `json:"name"`
	Classes   []jsontext.Value `json:"classes"`
	Functions []jsontext.Value `json:"functions"`
}

// answerCatalogue lists what items makes of every package, or of ?package=, with
// ?filter= as a substring of the key.
func (rq request) answerCatalogue(items func(dst []byte, pkg cataloguePackage, filter string) ([]byte, error)) error {
	only, err := rq.queryName("package")
	if err != nil {
		return err
	}
	filter, _, err := rq.query("filter")
	if err != nil {
		return err
	}
	return rq.answerList(listing{
		scan: func(r storage.Reader, from string, visit storage.Visit) error {
			if only == "" {
				return storage.ListPackages(r, storage.PackageQuery{}, from, visit)
			}
			doc, err := r.Get(storage.PackageKey(only))
			if err != nil || doc == nil || from > only {
				return err
			}
			_, err = visit(only, doc)
			return err
		},
		render: func(dst, doc []byte) ([]byte, error) {
			var pkg cataloguePackage
			if err := json.Unmarshal(doc, &pkg); err != nil {
				return nil, fmt.Errorf("decode package: %w", err)
			}
			return items(dst, pkg, filter)
		},
		unpaged: true,
	})
}

// qualifyKey rewrites the key of an encoded class to <package>.<class> and leaves
// the rest as it is.
func qualifyKey(pkg string, class jsontext.Value) (qualified []byte, name string, err error) {
	var members struct {
		Key  string         `json:"key"`
		Rest jsontext.Value `json:",embed"`
	}
	if err := json.Unmarshal(class, &members); err != nil {
		return nil, "", err
	}
	members.Key = pkg + "." + members.Key
	qualified, err = json.Marshal(members)
	return qualified, members.Key, err
}
