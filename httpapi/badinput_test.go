package httpapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/httpapi"
)

// badInput is one request that must be refused without a trace.
type badInput struct {
	name string
	call call
	// status expected; 0 is 400.
	status int
	// field must be named: by a problem's path, or in the text.
	field string
}

const (
	pkgs = "/api/v1/packages"
	deps = "/api/v1/deployments"
	rts  = "/api/v1/runtime-states"

	clusters = "/api/v1/clusters"
)

// class makes a package document around one class.
func class(members string) string {
	return `{"name":"new","classes":[{"key":"C",` + members + `}],"functions":[{"key":"F"}]}`
}

func function(members string) string {
	return `{"name":"new","functions":[{"key":"F",` + members + `}]}`
}

func provision(members string) string {
	return function(`"provision_config":{` + members + `}`)
}

func binding(members string) string {
	return class(`"function_bindings":[{` + members + `}]`)
}

func deployment(members string) string {
	return `{"key":"new","package_name":"base","class_key":"K",` + members + `}`
}

func post1(name, path, body, field string) badInput {
	return badInput{name: name, call: call{"POST", path, body, nil}, field: field}
}

func get1(name, path, field string) badInput {
	return badInput{name: name, call: call{"GET", path, "", nil}, field: field}
}

// badPackages are documents that no package may look like.
func badPackages() []badInput {
	deep := strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000)
	return []badInput{
		post1("empty body", pkgs, " ", "body"),
		post1("not json", pkgs, "name: shop", ""),
		post1("truncated json", pkgs, `{"name":"new","classes":[`, ""),
		post1("two documents", pkgs, `{"name":"new"}{"name":"other"}`, ""),
		post1("trailing comma", pkgs, `{"name":"new",}`, ""),
		post1("comment in json", pkgs, "{\"name\":\"new\"} // yes", ""),
		post1("an array", pkgs, `[{"name":"new"}]`, ""),
		post1("a string", pkgs, `"new"`, ""),
		post1("null", pkgs, `null`, ""),
		post1("deeply nested", pkgs, `{"name":"new","extra":`+deep+`}`, "nested"),
		post1("deeply nested list", pkgs, `{"name":"new","classes":`+strings.Repeat("[", 100000)+`}`, "nested"),
		post1("invalid utf-8", pkgs, "{\"name\":\"new\",\"version\":\"\xff\"}", ""),
		post1("lone surrogate", pkgs, `{"name":"new","version":"\ud800"}`, ""),
		post1("duplicate member", pkgs, `{"name":"new","name":"other"}`, "name"),
		post1("duplicate nested member", pkgs, `{"name":"new","metadata":{"tags":[],"tags":["a"]}}`, "tags"),
		post1("no name", pkgs, `{"classes":[]}`, "name"),
		post1("empty name", pkgs, `{"name":""}`, "name"),
		post1("null name", pkgs, `{"name":null}`, "name"),
		post1("number as name", pkgs, `{"name":7}`, "name"),
		post1("name with a slash", pkgs, `{"name":"a/b"}`, "name"),
		post1("name with a space", pkgs, `{"name":"a b"}`, "name"),
		post1("name with dots only", pkgs, `{"name":".."}`, "name"),
		post1("name with NUL", pkgs, `{"name":"a\u0000b"}`, "name"),
		post1("name of 10 KiB", pkgs, `{"name":"`+strings.Repeat("a", 10<<10)+`"}`, "name"),
		post1("number as version", pkgs, `{"name":"new","version":1.0}`, "version"),
		post1("metadata is a list", pkgs, `{"name":"new","metadata":[]}`, "metadata"),
		post1("tags is text", pkgs, `{"name":"new","metadata":{"tags":"a"}}`, "metadata.tags"),
		post1("tag is a number", pkgs, `{"name":"new","metadata":{"tags":[1]}}`, "metadata.tags[0]"),
		post1("classes is an object", pkgs, `{"name":"new","classes":{}}`, "classes"),
		post1("class is text", pkgs, `{"name":"new","classes":["C"]}`, "classes[0]"),
		post1("class without key", pkgs, `{"name":"new","classes":[{}]}`, "classes[0].key"),
		post1("duplicate class keys", pkgs, `{"name":"new","classes":[{"key":"C"},{"key":"C"}]}`, "classes[1].key"),
		post1("function without key", pkgs, `{"name":"new","functions":[{}]}`, "functions[0].key"),
		post1("duplicate function keys", pkgs, `{"name":"new","functions":[{"key":"F"},{"key":"F"}]}`, "functions[1].key"),
		post1("unknown function type", pkgs, function(`"function_type":"LAMBDA"`), "functions[0].function_type"),
		post1("number in config", pkgs, function(`"config":{"PORT":80}`), "functions[0].config"),
		post1("binding without name", pkgs, binding(`"function_key":"F","access_modifier":"PUBLIC"`), "classes[0].function_bindings[0].name"),
		post1("binding to nothing", pkgs, binding(`"name":"f","function_key":"G","access_modifier":"PUBLIC"`), "classes[0].function_bindings[0].function_key"),
		post1("unknown access modifier", pkgs, binding(`"name":"f","function_key":"F","access_modifier":"OPEN"`), "classes[0].function_bindings[0].access_modifier"),
		post1("stateless is text", pkgs, binding(`"name":"f","function_key":"F","access_modifier":"PUBLIC","stateless":"yes"`), "classes[0].function_bindings[0].stateless"),
		post1("unknown consistency model", pkgs, class(`"state_spec":{"consistency_model":"EVENTUAL"}`), "classes[0].state_spec.consistency_model"),
		post1("port out of range", pkgs, provision(`"port":70000`), "functions[0].provision_config.port"),
		post1("negative port", pkgs, provision(`"port":-1`), "functions[0].provision_config.port"),
		post1("fractional scale", pkgs, provision(`"min_scale":1.5`), "functions[0].provision_config.min_scale"),
		post1("min above max scale", pkgs, provision(`"min_scale":5,"max_scale":2`), "functions[0].provision_config"),
		post1("bad quantity", pkgs, provision(`"cpu_request":"lots"`), "functions[0].provision_config.cpu_request"),
		post1("request above limit", pkgs, provision(`"memory_request":"2Gi","memory_limit":"1Gi"`), "functions[0].provision_config"),
		post1("huge number", pkgs, provision(`"max_concurrency":99999999999999999999`), "functions[0].provision_config.max_concurrency"),
		post1("dependency is empty", pkgs, `{"name":"new","dependencies":[""]}`, "dependencies[0]"),
		post1("dependency does not exist", pkgs, `{"name":"new","dependencies":["nowhere"]}`, "dependencies"),
		post1("depends on itself", pkgs, `{"name":"new","dependencies":["new"]}`, "dependencies"),
		post1("dependency cycle", pkgs+"/base", `{"name":"base","dependencies":["top"],"classes":[{"key":"K"}]}`, "dependencies"),
		post1("bad embedded deployment", pkgs, `{"name":"new","deployments":[{"key":"x y","class_key":"K"}]}`, "deployments[0].key"),
		post1("embedded deployment of another package", pkgs+"?apply_deployments=true",
			`{"name":"new","classes":[{"key":"K"}],"deployments":[{"key":"e","package_name":"base","class_key":"K"}]}`, "deployments[0].package_name"),
		post1("unknown field when strict", pkgs+"?strict=true", `{"name":"new","colour":"red"}`, "colour"),
		{name: "name is taken", call: call{"POST", pkgs, `{"name":"base"}`, nil}, status: 409, field: "base"},
		{name: "update of a missing package", call: call{"POST", pkgs + "/new", `{"name":"new"}`, nil}, status: 404, field: "new"},
		post1("body names another package", pkgs+"/base", `{"name":"other"}`, "name"),
		{name: "put names another package", call: call{"PUT", pkgs + "/base", `{"name":"other"}`, nil}, field: "name"},
		{name: "class that is deployed vanishes", call: call{"PUT", pkgs + "/base", `{"name":"base"}`, nil}, status: 409, field: "classes"},
		{name: "yaml tab", call: call{"POST", pkgs, "name: new\n\tversion: 1", []string{"Content-Type: application/yaml"}}},
		{name: "yaml anchors without end", call: call{"POST", pkgs, yamlBomb(), []string{"Content-Type: application/yaml"}}},
	}
}

// yamlBomb is small, and huge once its aliases are expanded.
func yamlBomb() string {
	var b strings.Builder
	b.WriteString("name: new\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 10; i++ {
		ref := fmt.Sprintf("*a%d", i-1)
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(ref+",", 10), ","))
	}
	return b.String()
}

func badDeployments() []badInput {
	return []badInput{
		post1("deployment without key", deps, `{"package_name":"base","class_key":"K"}`, "key"),
		post1("deployment without package", deps, `{"key":"new","class_key":"K"}`, "package_name"),
		post1("deployment without class", deps, `{"key":"new","package_name":"base"}`, "class_key"),
		{name: "package does not exist", call: call{"POST", deps, `{"key":"new","package_name":"nowhere","class_key":"K"}`, nil}, status: 404, field: "package_name"},
		post1("class does not exist", deps, `{"key":"new","package_name":"base","class_key":"Z"}`, "class_key"),
		post1("environment is not a label", deps, deployment(`"target_envs":["Not A Label"]`), "target_envs[0]"),
		post1("availability above one", deps, deployment(`"nfr_requirements":{"availability":99.9}`), "nfr_requirements.availability"),
		post1("negative throughput", deps, deployment(`"nfr_requirements":{"min_throughput_rps":-1}`), "nfr_requirements.min_throughput_rps"),
		post1("target_envs is text", deps, deployment(`"target_envs":"oaas-1"`), "target_envs"),
		post1("wait is no duration", deps+"?wait=soon", deployment(`"target_envs":[]`), "wait"),
		post1("wait is negative", deps+"?wait=-5s", deployment(`"target_envs":[]`), "wait"),
		{name: "put names another deployment", call: call{"PUT", deps + "/d1", deployment(`"target_envs":[]`), nil}, field: "key"},
		{name: "delete a missing deployment", call: call{"DELETE", deps + "/nowhere", "", nil}, status: 404, field: "nowhere"},
		{name: "delete with a bad wait", call: call{"DELETE", deps + "/d1?wait=x", "", nil}, field: "wait"},
		{name: "runtime state without body", call: call{"PUT", rts + "/r1", " ", nil}, field: "body"},
		{name: "runtime state of another key", call: call{"PUT", rts + "/r1", `{"key":"r2","class_key":"K","deployment_id":"d1","status":"RUNNING","health":"HEALTHY"}`, nil}, field: "key"},
		{name: "runtime state with text as number", call: call{"PUT", rts + "/r1", `{"key":"r1","metrics":{"cpu_usage":"x"}}`, nil}, field: "metrics.cpu_usage"},
	}
}

func badPaths() []badInput {
	long := strings.Repeat("a", 10<<10)
	del := func(name, path, field string) badInput {
		return badInput{name: name, call: call{"DELETE", path, "", nil}, field: field}
	}
	return []badInput{
		del("encoded slash", pkgs+"/base%2Fx", "name"),
		del("double dot", pkgs+"/..", "name"),
		del("encoded double dot", pkgs+"/%2e%2e", "name"),
		del("dot", pkgs+"/%2E", "name"),
		del("encoded NUL", pkgs+"/base%00", "name"),
		del("encoded newline", pkgs+"/base%0a", "name"),
		del("invalid utf-8 in path", pkgs+"/%ff%fe", "name"),
		del("malformed escape", pkgs+"/base%zz", "name"),
		del("cut escape", pkgs+"/base%2", "name"),
		del("backslash", pkgs+"/base%5c..", "name"),
		del("name of 10 KiB in path", pkgs+"/"+long, "name"),
		del("deployment key with slash", deps+"/d1%2f..", "key"),
		get1("cluster name with slash", "/api/v1/clusters/a%2fb/health", "name"),
		get1("runtime state key with NUL", rts+"/%00", "key"),
		get1("units of dot dot", deps+"/%2e%2e/units", "key"),
		{name: "unknown path", call: call{"GET", "/api/v1/nothing", "", nil}, status: 404, field: "/api/v1/nothing"},
		{name: "file tricks", call: call{"GET", "/../../etc/passwd", "", nil}, status: 404},
		{name: "trailing slash", call: call{"DELETE", pkgs + "/base/", "", nil}, status: 404},
		{name: "double slash", call: call{"DELETE", "/api/v1//packages/base", "", nil}, status: 404},
	}
}

func badQueries() []badInput {
	return []badInput{
		get1("negative limit", pkgs+"?limit=-1", "limit"),
		get1("limit is text", pkgs+"?limit=abc", "limit"),
		get1("limit is fractional", pkgs+"?limit=1.5", "limit"),
		get1("limit overflows", pkgs+"?limit=99999999999999999999", "limit"),
		get1("limit twice", pkgs+"?limit=1&limit=2", "limit"),
		get1("negative offset", deps+"?offset=-1", "offset"),
		get1("unknown consistency", pkgs+"/base?consistency=x", "consistency"),
		get1("min_index is text", pkgs+"/base?min_index=x", "min_index"),
		get1("negative min_index", pkgs+"?min_index=-1", "min_index"),
		get1("cursor is garbage", pkgs+"?cursor=%21%21", "cursor"),
		get1("cursor of nobody", pkgs+"?cursor=AAAA", "cursor"),
		get1("cursor with path tricks", pkgs+"?cursor=MTouLg", "cursor"),
		get1("disabled is text", pkgs+"?disabled=maybe", "disabled"),
		get1("name pattern is not utf-8", pkgs+"?name_pattern=%ff", "name_pattern"),
		get1("tags hold NUL", pkgs+"?tags=%00", "tags"),
		get1("too many tags", pkgs+"?tags="+strings.Repeat("t,", 100), "tags"),
		get1("unknown condition", deps+"?condition=BUSY", "condition"),
		get1("condition and status differ", deps+"?condition=RUNNING&status=DOWN", "condition"),
		get1("env and cluster differ", deps+"?target_env=a&target_cluster=b", "target_env"),
		get1("package filter with slash", deps+"?package_name=a%2fb", "package_name"),
		get1("unknown kind", "/api/v1/watch?kind=bogus", "kind"),
		get1("since is text", "/api/v1/watch?since=now", "since"),
		{name: "last event id is text", call: call{"GET", "/api/v1/watch", "", []string{"Last-Event-ID: x"}}, field: "Last-Event-ID"},
		{name: "cascade is text", call: call{"DELETE", pkgs + "/free?cascade=please", "", nil}, field: "cascade"},
		post1("strict is text", pkgs+"?strict=very", `{"name":"new"}`, "strict"),
		post1("apply_deployments is text", pkgs+"?apply_deployments=2", `{"name":"new"}`, "apply_deployments"),
	}
}

// badOrchestration is input that came with clusters, placement and rollouts.
func badOrchestration() []badInput {
	cluster := func(members string) string { return `{"name":"new","base_url":"http://crm:8088",` + members + `}` }
	placement := func(members string) string { return deployment(`"placement":{` + members + `}`) }
	rollout := func(members string) string { return deployment(`"rollout":{` + members + `}`) }
	failover := func(members string) string {
		return deployment(`"target_envs":["oaas-1"],"failover":{"enabled":true,` + members + `}`)
	}
	return []badInput{
		post1("cluster without a name", clusters, `{"base_url":"http://crm:8088"}`, "name"),
		post1("cluster without a URL", clusters, `{"name":"new"}`, "base_url"),
		post1("cluster name is no label", clusters, `{"name":"a b","base_url":"http://crm"}`, "name"),
		post1("cluster URL of another scheme", clusters, `{"name":"new","base_url":"ftp://crm"}`, "base_url"),
		post1("cluster URL with credentials", clusters, `{"name":"new","base_url":"http://u:p@crm"}`, "base_url"),
		post1("unknown protocol", clusters, cluster(`"protocol":"smtp"`), "protocol"),
		post1("labels are a list", clusters, cluster(`"labels":["a"]`), "labels"),
		post1("label key is bad", clusters, cluster(`"labels":{"a b":"c"}`), "labels"),
		post1("environments are text", clusters, cluster(`"environments":"edge"`), "environments"),
		post1("negative weight", clusters, cluster(`"weight":-1`), "weight"),
		post1("weight is huge", clusters, cluster(`"weight":4000000000`), "weight"),
		post1("capacity is text", clusters, cluster(`"capacity":"many"`), "capacity"),
		post1("call timeout is text", clusters, cluster(`"timeout":"soon"`), "timeout"),
		post1("unknown authentication", clusters, cluster(`"auth":{"type":"magic"}`), "auth.type"),
		post1("basic authentication of nobody", clusters, cluster(`"auth":{"type":"basic"}`), "auth.username"),
		post1("a secret in a cluster when strict", clusters+"?strict=true", cluster(`"token":"s3cret"`), "token"),
		{name: "body names another cluster", call: call{"PUT", clusters + "/other", cluster(`"weight":1`), nil}, field: "name"},
		{name: "delete a missing cluster", call: call{"DELETE", clusters + "/nowhere", "", nil}, status: 404, field: "nowhere"},
		{name: "force is text", call: call{"DELETE", clusters + "/nowhere?force=perhaps", "", nil}, field: "force"},
		{name: "cordon a missing cluster", call: call{"POST", clusters + "/nowhere/cordon", "", nil}, status: 404, field: "nowhere"},
		{name: "cordon with a slash", call: call{"POST", clusters + "/a%2fb/cordon", "", nil}, field: "name"},
		get1("refresh is text", clusters+"?refresh=now", "refresh"),
		get1("refresh of health is text", "/api/v1/envs/x/health?refresh=now", "refresh"),
		get1("clusters of odd consistency", clusters+"?consistency=most", "consistency"),

		post1("placement in no cluster", deps, placement(`"clusters":0`), "placement.clusters"),
		post1("selector is a list", deps, placement(`"selector":["a"]`), "placement.selector"),
		post1("requirement without key", deps, placement(`"requirements":[{"operator":"Exists"}]`), "placement.requirements[0].key"),
		post1("unknown operator", deps, placement(`"requirements":[{"key":"a","operator":"Like"}]`), "placement.requirements[0].operator"),
		post1("In without values", deps, placement(`"requirements":[{"key":"a","operator":"In"}]`), "placement.requirements[0].values"),
		post1("spread over nothing", deps, placement(`"spread":[{}]`), "placement.spread[0].label"),
		post1("affinity to nothing", deps, placement(`"affinity":[{}]`), "placement.affinity[0]"),
		post1("affinity to class and deployment", deps, placement(`"affinity":[{"class":"a","deployment":"b"}]`), "placement.affinity[0]"),
		post1("affinity weight out of range", deps, placement(`"anti_affinity":[{"class":"a","weight":101}]`), "placement.anti_affinity[0].weight"),
		post1("weight of a cluster is text", deps, placement(`"weights":{"oaas-1":"x"}`), "placement.weights.oaas-1"),
		post1("toleration is text", deps, failover(`"toleration":"soon"`), "failover.toleration"),
		post1("negative toleration", deps, failover(`"toleration":"-5s"`), "failover.toleration"),
		post1("backup twice", deps, failover(`"backups":["b","b"]`), "failover.backups[1]"),
		post1("backup that is a target", deps, failover(`"backups":["oaas-1"]`), "failover.backups[0]"),
		post1("unknown strategy", deps, rollout(`"strategy":"big-bang"`), "rollout.strategy"),
		post1("wave of nothing", deps, rollout(`"wave":"0"`), "rollout.wave"),
		post1("wave above all", deps, rollout(`"wave":"101%"`), "rollout.wave"),
		post1("soak is text", deps, rollout(`"soak":"a while"`), "rollout.soak"),
		post1("unknown failure action", deps, rollout(`"on_failure":"panic"`), "rollout.on_failure"),
		post1("paused is text", deps, rollout(`"paused":"yes"`), "rollout.paused"),
		post1("rollback_on_partial is text", deps, deployment(`"rollback_on_partial":"yes"`), "rollback_on_partial"),

		post1("dry_run is text", deps+"?dry_run=maybe", deployment(`"target_envs":[]`), "dry_run"),
		post1("dry_run of a package is text", pkgs+"?dry_run=maybe", `{"name":"new"}`, "dry_run"),
		post1("force of a package is text", pkgs+"?force=maybe", `{"name":"new"}`, "force"),
		post1("rollback to text", deps+"/d1/rollback", `{"revision":"last"}`, "revision"),
		post1("rollback to minus one", deps+"/d1/rollback", `{"revision":-1}`, "revision"),
		post1("rollback that is no object", deps+"/d1/rollback", `[3]`, ""),
		{name: "rollback without revisions", call: call{"POST", deps + "/d1/rollback", "", nil}, status: 409, field: "d1"},
		{name: "rollback of nothing", call: call{"POST", deps + "/nowhere/rollback", "", nil}, status: 404, field: "nowhere"},
		{name: "pause with a bad key", call: call{"POST", deps + "/d1/pause", "", []string{"Idempotency-Key: a b"}}, field: "Idempotency-Key"},
		{name: "delete from a cluster with a slash", call: call{"DELETE", deps + "/d1?cluster=a%2fb", "", nil}, field: "cluster"},
		{name: "delete from the only cluster", call: call{"DELETE", deps + "/d1?cluster=oaas-1", "", nil}, status: 409, field: "oaas-1"},
		get1("revision is text", deps+"/d1/revisions/last", "revision"),
		get1("revision is zero", deps+"/d1/revisions/0", "revision"),
		{name: "revisions of nothing", call: call{"GET", deps + "/nowhere/revisions", "", nil}, status: 404, field: "nowhere"},
		{name: "plan of nothing", call: call{"GET", deps + "/nowhere/plan", "", nil}, status: 404, field: "nowhere"},
		get1("unknown kind of events", "/api/v1/events?kind=weather", "kind"),
		get1("unknown type of events", "/api/v1/events?type=Loud", "type"),
		get1("events since text", "/api/v1/events?since=yesterday", "since"),
		get1("events since the future", "/api/v1/events?since=-1h", "since"),
		get1("no events", "/api/v1/events?limit=0", "limit"),
		get1("negative events", deps+"/d1/events?limit=-1", "limit"),
		get1("record with a slash", "/api/v1/deployment-records/a%2fb", "id"),
		get1("records of an unknown cluster", "/api/v1/deployment-records?cluster=nowhere", "cluster"),
		get1("records with a bad limit", "/api/v1/class-runtimes?limit=x", "limit"),
		get1("records with a negative offset", "/api/v1/class-runtimes?offset=-1", "offset"),
		get1("status with a bad cluster", "/api/v1/deployment-status/u?env=a%2fb", "env"),
		get1("topology of odd consistency", "/api/v1/topology?consistency=x", "consistency"),
	}
}

func badHeaders() []badInput {
	with := func(name, field string, status int, headers ...string) badInput {
		return badInput{name: name, call: call{"PUT", pkgs + "/free", `{"name":"free","version":"9"}`, headers}, field: field, status: status}
	}
	return []badInput{
		with("If-Match is text", "If-Match", 0, `If-Match: "abc"`),
		with("If-Match is weak", "If-Match", 0, `If-Match: W/"1"`),
		with("If-Match is a list", "If-Match", 0, `If-Match: "1", "2"`),
		with("If-Match is zero", "If-Match", 0, `If-Match: 0`),
		with("If-Match is negative", "If-Match", 0, `If-Match: -1`),
		with("If-Match names another version", "", 412, `If-Match: "9999"`),
		with("Idempotency-Key is too long", "Idempotency-Key", 0, "Idempotency-Key: "+strings.Repeat("k", 129)),
		with("Idempotency-Key has a space", "Idempotency-Key", 0, "Idempotency-Key: a b"),
		with("Idempotency-Key is empty", "Idempotency-Key", 0, "Idempotency-Key: "),
		with("Idempotency-Key is not ascii", "Idempotency-Key", 0, "Idempotency-Key: schlüssel"),
		with("unsupported content type", "Content-Type", 415, "Content-Type: text/html"),
		with("form", "Content-Type", 415, "Content-Type: application/x-www-form-urlencoded"),
		with("compressed body", "Content-Encoding", 415, "Content-Encoding: gzip"),
		{name: "If-Match star on a missing package", call: call{"PUT", pkgs + "/new", `{"name":"new"}`, []string{"If-Match: *"}}, status: 412, field: "If-Match"},
		{name: "If-Match star on a create", call: call{"POST", pkgs, `{"name":"new"}`, []string{"If-Match: *"}}, status: 412, field: "If-Match"},
		{name: "put with If-None-Match", call: call{"PUT", pkgs + "/free", `{"name":"free","version":"9"}`, []string{"If-None-Match: *"}}, field: "If-None-Match"},
		{name: "delete with If-None-Match", call: call{"DELETE", pkgs + "/free", "", []string{`If-None-Match: "9"`}}, field: "If-None-Match"},
		{name: "delete with another version", call: call{"DELETE", pkgs + "/free", "", []string{`If-Match: "9999"`}}, status: 412},
		{name: "delete with bad If-Match", call: call{"DELETE", deps + "/d1", "", []string{"If-Match: x"}}, field: "If-Match"},
		{name: "PATCH", call: call{"PATCH", pkgs + "/free", `{"name":"free"}`, nil}, status: 405, field: "PATCH"},
		{name: "PUT on a list", call: call{"PUT", pkgs, `{"name":"new"}`, nil}, status: 405, field: "PUT"},
		{name: "DELETE on classes", call: call{"DELETE", "/api/v1/classes", "", nil}, status: 405, field: "DELETE"},
		{name: "unknown method", call: call{"BREW", pkgs, "", nil}, status: 405, field: "BREW"},
		{name: "body above the limit", call: call{"POST", pkgs, `{"name":"new","version":"` + strings.Repeat("v", 1<<20) + `"}`, nil}, status: 413, field: "body"},
		{name: "headers above the limit", call: call{"GET", pkgs, "", []string{"X-Big: " + strings.Repeat("h", 32<<10)}}, status: 431, field: "header"},
		{name: "delete of a package in use", call: call{"DELETE", pkgs + "/base?cascade=true", "", nil}, status: 409, field: "top"},
		{name: "delete of a deployed package", call: call{"DELETE", pkgs + "/top", "", nil}, status: 409, field: "d2"},
	}
}

// TestBadInput holds invariant I9: bad input gets a 4xx with a message that names
// the field; it changes nothing and brings nothing down.
func TestBadInput(t *testing.T) {
	t.Parallel()
	a := start(t, options{config: func(c *httpapi.Config) { c.MaxBodyBytes = 1 << 20 }})
	a.must(a.putPackage("base", "t"), 201)
	a.must(a.putPackage("free"), 201)
	a.must(a.do(call{"POST", pkgs, `{"name":"top","dependencies":["base"],"classes":[{"key":"K"}]}`, nil}), 201)
	a.putDeployment("d1", "base", "oaas-1")
	a.putDeployment("d2", "top", "oaas-1")
	before := a.dump()

	seen := map[string]bool{}
	inputs := slices.Concat(badPackages(), badDeployments(), badPaths(), badQueries(), badOrchestration(), badHeaders())
	if len(inputs) < 180 {
		t.Errorf("%d bad inputs, want at least 180", len(inputs))
	}
	for _, in := range inputs {
		if seen[in.name] {
			t.Fatalf("two inputs are called %q", in.name)
		}
		seen[in.name] = true
		t.Run(in.name, func(t *testing.T) {
			got := a.do(in.call)
			checkRefused(t, in, got)
			if diff := cmp.Diff(before, a.dump()); diff != "" {
				t.Errorf("the store changed (-before +after):\n%s", diff)
			}
		})
	}
	a.must(a.get(pkgs+"/base"), 200)
}

// checkRefused checks status and shape of a refusal, and that it names the field.
func checkRefused(t *testing.T, in badInput, got answer) {
	t.Helper()
	want := in.status
	if want == 0 {
		want = 400
	}
	if got.status != want {
		t.Fatalf("status %d, want %d: %.500s", got.status, want, got.body)
	}
	if ct := got.header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("Content-Type %q, want application/json", ct)
	}
	body := decode[errorBody](t, got.body)
	if body.Error == "" || body.Code == "" {
		t.Errorf("error and code must not be empty: %s", got.body)
	}
	if id := got.header.Get("X-Request-Id"); id == "" || body.RequestID != id {
		t.Errorf("request_id %q, want that of the header %q", body.RequestID, id)
	}
	if want != 404 && strings.Contains(string(got.body), "404") {
		t.Errorf("the body of a %d contains 404: %s", want, got.body)
	}
	if len(got.body) > 64<<10 {
		t.Errorf("the answer has %d bytes", len(got.body))
	}
	named := strings.Contains(body.Error, in.field)
	for _, p := range body.Problems {
		named = named || p.Path == in.field
	}
	if !named {
		t.Errorf("field %q is not named: %s", in.field, got.body)
	}
}
