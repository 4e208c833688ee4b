package httpapi

import (
	"strings"
	"unicode/utf8"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// maxTags bounds the tags of one query.
const maxTags = 64

func (s *Server) handleListPackages(rq request) error {
	q, err := rq.packageQuery()
	if err != nil {
		return err
	}
	return rq.answerList(listing{
		scan: func(r storage.Reader, from string, visit storage.Visit) error {
			return storage.ListPackages(r, q, from, visit)
		},
	})
}

// packageQuery reads the filters of the package list.
func (rq request) packageQuery() (storage.PackageQuery, error) {
	var q storage.PackageQuery
	var err error
	if q.NamePattern, _, err = rq.query("name_pattern"); err != nil {
		return q, err
	}
	disabled, given, err := rq.queryBool("disabled")
	if err != nil {
		return q, err
	}
	if given {
		q.Disabled = &disabled
	}
	q.Tags, err = rq.queryTags()
	return q, err
}

// queryTags reads ?tags=a&tags=b,c: any of a, b and c. Empty ones do not count.
func (rq request) queryTags() ([]string, error) {
	const name = "tags"
	var tags []string
	for key, value := range rq.ctx.QueryArgs().All() {
		if string(key) != name {
			continue
		}
		if !utf8.Valid(value) {
			return nil, invalidField(name, "query parameter %s is not valid UTF-8", name)
		}
		for tag := range strings.SplitSeq(string(value), ",") {
			tag = strings.TrimSpace(tag)
			switch {
			case tag == "":
				continue
			case strings.ContainsRune(tag, 0):
				return nil, invalidField(name, "query parameter %s must not contain NUL", name)
			case len(tags) == maxTags:
				return nil, invalidField(name, "query parameter %s names more than %d tags", name, maxTags)
			}
			tags = append(tags, tag)
		}
	}
	return tags, nil
}

func (s *Server) handleListDeployments(rq request) error {
	q, err := rq.deploymentQuery()
	if err != nil {
		return err
	}
	return rq.answerList(listing{
		scan: func(r storage.Reader, from string, visit storage.Visit) error {
			return storage.ListDeployments(r, q, from, visit)
		},
	})
}

// deploymentQuery reads the filters of the deployment list.
func (rq request) deploymentQuery() (storage.DeploymentQuery, error) {
	var q storage.DeploymentQuery
	var err error
	if q.Package, err = rq.queryName("package_name"); err != nil {
		return q, err
	}
	if q.Class, err = rq.queryName("class_key"); err != nil {
		return q, err
	}
	if q.Environment, err = rq.queryAlias("target_env", "target_cluster"); err != nil {
		return q, err
	}
	condition, err := rq.queryAlias("condition", "status")
	if err != nil || condition == "" {
		return q, err
	}
	q.Condition = model.DeploymentCondition(strings.ToUpper(condition))
	switch q.Condition {
	case model.DeploymentPending, model.DeploymentDeploying, model.DeploymentRunning,
		model.DeploymentDown, model.DeploymentDeleted:
		return q, nil
	}
	return q, invalidField("condition",
		"query parameter condition must be PENDING, DEPLOYING, RUNNING, DOWN or DELETED, not %q", printable([]byte(condition)))
}

// queryAlias reads a parameter that has two names.
func (rq request) queryAlias(name, alias string) (string, error) {
	value, err := rq.queryName(name)
	if err != nil {
		return "", err
	}
	other, err := rq.queryName(alias)
	switch {
	case err != nil:
		return "", err
	case value == "":
		return other, nil
	case other != "" && other != value:
		return "", invalidField(name, "query parameters %s and %s differ", name, alias)
	}
	return value, nil
}
