package httpapi

import (
	"github.com/fasthttp/router"
	"github.com/valyala/fasthttp"
)

// handler answers one request; an error becomes the answer (see writeError).
type handler func(s *Server, rq request) error

// route is one operation of the API.
type route struct {
	method string
	path   string
	// name is the operation id of the OpenAPI description and the value of the
	// metric label route.
	name   string
	handle handler
	// write says that the operation may change replicated state.
	write bool
}

const (
	get  = fasthttp.MethodGet
	post = fasthttp.MethodPost
	put  = fasthttp.MethodPut
	del  = fasthttp.MethodDelete
)

// routes is the one table of operations. HEAD works wherever GET does and
// OPTIONS everywhere.
var routes = []route{
	{get, "/api/v1/packages", "listPackages", (*Server).handleListPackages, false},
	{post, "/api/v1/packages", "createPackage", (*Server).handleCreatePackage, true},
	{get, "/api/v1/packages/{name}", "getPackage", (*Server).handleGetPackage, false},
	{post, "/api/v1/packages/{name}", "updatePackage", (*Server).handleUpdatePackage, true},
	{put, "/api/v1/packages/{name}", "putPackage", (*Server).handlePutPackage, true},
	{del, "/api/v1/packages/{name}", "deletePackage", (*Server).handleDeletePackage, true},

	{get, "/api/v1/deployments", "listDeployments", (*Server).handleListDeployments, false},
	{post, "/api/v1/deployments", "postDeployment", (*Server).handlePostDeployment, true},
	{get, "/api/v1/deployments/{key}", "getDeployment", (*Server).handleGetDeployment, false},
	{put, "/api/v1/deployments/{key}", "putDeployment", (*Server).handlePutDeployment, true},
	{del, "/api/v1/deployments/{key}", "deleteDeployment", (*Server).handleDeleteDeployment, true},
	{get, "/api/v1/deployments/{key}/plan", "getDeploymentPlan", (*Server).handleDeploymentPlan, false},
	{get, "/api/v1/deployments/{key}/revisions", "listRevisions", (*Server).handleListRevisions, false},
	{get, "/api/v1/deployments/{key}/revisions/{revision}", "getRevision", (*Server).handleGetRevision, false},
	{post, "/api/v1/deployments/{key}/rollback", "rollbackDeployment", (*Server).handleRollbackDeployment, true},
	{post, "/api/v1/deployments/{key}/pause", "pauseDeployment", (*Server).handlePauseDeployment, true},
	{post, "/api/v1/deployments/{key}/resume", "resumeDeployment", (*Server).handleResumeDeployment, true},
	{get, "/api/v1/deployments/{key}/events", "listDeploymentEvents", (*Server).handleDeploymentEvents, false},
	{get, "/api/v1/deployments/{key}/units", "listUnits", (*Server).handleListUnits, false},
	{get, "/api/v1/deployments/{key}/cluster-mappings", "getClusterMappings", (*Server).handleMappings, false},
	{get, "/api/v1/deployments/{key}/env-mappings", "getEnvMappings", (*Server).handleMappings, false},

	{get, "/api/v1/classes", "listClasses", (*Server).handleListClasses, false},
	{get, "/api/v1/functions", "listFunctions", (*Server).handleListFunctions, false},

	{get, "/api/v1/deployment-records", "listRecords", (*Server).handleListRecords, false},
	{get, "/api/v1/deployment-records/{id}", "getRecord", (*Server).handleGetRecord, false},
	{get, "/api/v1/class-runtimes", "listClassRuntimes", (*Server).handleListClassRuntimes, false},
	{get, "/api/v1/class-runtimes/{id}", "getClassRuntime", (*Server).handleGetRecord, false},
	{get, "/api/v1/deployment-status/{id}", "getDeploymentStatus", (*Server).handleDeploymentStatus, false},
	{get, "/api/v1/topology", "getTopology", (*Server).handleTopology, false},
	{get, "/api/v1/events", "listEvents", (*Server).handleListEvents, false},

	{get, "/api/v1/clusters", "listClusters", (*Server).handleListClusters, false},
	{post, "/api/v1/clusters", "createCluster", (*Server).handleCreateCluster, true},
	{get, "/api/v1/clusters/{name}", "getCluster", (*Server).handleGetCluster, false},
	{put, "/api/v1/clusters/{name}", "putCluster", (*Server).handlePutCluster, true},
	{del, "/api/v1/clusters/{name}", "deleteCluster", (*Server).handleDeleteCluster, true},
	{post, "/api/v1/clusters/{name}/cordon", "cordonCluster", (*Server).handleCordonCluster, true},
	{post, "/api/v1/clusters/{name}/uncordon", "uncordonCluster", (*Server).handleUncordonCluster, true},
	{post, "/api/v1/clusters/{name}/drain", "drainCluster", (*Server).handleDrainCluster, true},
	{get, "/api/v1/clusters/{name}/units", "listClusterUnits", (*Server).handleListClusterUnits, false},
	{get, "/api/v1/clusters/{name}/events", "listClusterEvents", (*Server).handleClusterEvents, false},
	{get, "/api/v1/clusters/{name}/health", "getClusterHealth", (*Server).handleClusterHealth, false},
	{get, "/api/v1/envs", "listEnvs", (*Server).handleListClusters, false},
	{get, "/api/v1/envs/health", "listEnvHealth", (*Server).handleListClusterHealth, false},
	{get, "/api/v1/envs/{name}/health", "getEnvHealth", (*Server).handleClusterHealth, false},

	{get, "/api/v1/runtime-states", "listRuntimeStates", (*Server).handleListRuntimeStates, false},
	{get, "/api/v1/runtime-states/{key}", "getRuntimeState", (*Server).handleGetRuntimeState, false},
	{put, "/api/v1/runtime-states/{key}", "putRuntimeState", (*Server).handlePutRuntimeState, true},

	{get, "/api/v1/watch", "watch", (*Server).handleWatch, false},
	{get, "/api/v1/members", "listMembers", (*Server).handleListMembers, false},
	{get, "/api/v1/cluster/health", "getControlPlaneHealth", (*Server).handleControlPlaneHealth, false},
	{post, "/api/v1/cluster/leave", "leaveControlPlane", (*Server).handleLeave, true},
	{post, "/api/v1/cluster/members/{name}/remove", "removeMember", (*Server).handleRemoveMember, true},
	{post, "/api/v1/cluster/transfer-leader", "transferLeader", (*Server).handleTransferLeader, true},
	{post, "/api/v1/cluster/compact", "compactNode", (*Server).handleCompact, true},
	{post, "/api/v1/cluster/join", "joinControlPlane", (*Server).handleJoin, true},
	{get, snapshotPath, "saveSnapshot", (*Server).handleSaveSnapshot, false},
	{post, snapshotPath, "restoreSnapshot", (*Server).handleRestoreSnapshot, true},
	{get, "/api/v1/cluster/snapshots", "listSnapshots", (*Server).handleListSnapshots, false},
	{post, "/api/v1/cluster/snapshots/run", "runSnapshot", (*Server).handleRunSnapshot, true},

	{get, "/health", "health", (*Server).handleHealth, false},
	{get, "/livez", "livez", (*Server).handleLivez, false},
	{get, "/readyz", "readyz", (*Server).handleReadyz, false},
	{get, "/metrics", "metrics", (*Server).handleMetrics, false},
	{get, "/openapi.yaml", "openapi", (*Server).handleOpenAPI, false},
	{get, "/", "ui", (*Server).handleUI, false},
}

// newRouter builds the dispatcher over routes.
func (s *Server) newRouter() fasthttp.RequestHandler {
	return s.newRouterOf(routes)
}

func (s *Server) newRouterOf(table []route) fasthttp.RequestHandler {
	r := router.New()
	// Existing clients never rely on redirects, and a redirected write is a trap.
	r.RedirectTrailingSlash, r.RedirectFixedPath = false, false
	s.unrouted = newRouteMetrics(s.deps.Metrics, "none")
	for _, rt := range table {
		handle := s.wrap(rt.name, newRouteMetrics(s.deps.Metrics, rt.name), rt.handle)
		r.Handle(rt.method, rt.path, handle)
		if rt.method == get {
			r.Handle(fasthttp.MethodHead, rt.path, handle)
		}
	}
	r.GlobalOPTIONS = s.wrap("options", s.unrouted, (*Server).handleOptions)
	r.MethodNotAllowed = s.wrap("method_not_allowed", s.unrouted, (*Server).handleMethodNotAllowed)
	r.NotFound = s.wrap("not_found", s.unrouted, (*Server).handleNoRoute)
	return r.Handler
}
