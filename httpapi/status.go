package httpapi

import (
	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/model"
)

// Codes of errors that only HTTP knows.
const (
	codeMethodNotAllowed     model.Code = "method_not_allowed"
	codeUnsupportedMediaType model.Code = "unsupported_media_type"
	codeRequestTimeout       model.Code = "request_timeout"
	codeHeaderTooLarge       model.Code = "header_too_large"
)

// statusOf is the one table from error code to HTTP status. A test holds it
// equal to the codes of model.
var statusOf = map[model.Code]int{
	model.CodeInvalid:            fasthttp.StatusBadRequest,
	model.CodeUnauthenticated:    fasthttp.StatusUnauthorized,
	model.CodeForbidden:          fasthttp.StatusForbidden,
	model.CodeNotFound:           fasthttp.StatusNotFound,
	model.CodeConflict:           fasthttp.StatusConflict,
	model.CodeFailedPrecondition: fasthttp.StatusPreconditionFailed,
	model.CodeTooLarge:           fasthttp.StatusRequestEntityTooLarge,
	model.CodeThrottled:          fasthttp.StatusTooManyRequests,
	model.CodeNotLeader:          fasthttp.StatusServiceUnavailable,
	model.CodeUnavailable:        fasthttp.StatusServiceUnavailable,
	model.CodeGone:               fasthttp.StatusGone,
	model.CodeUnknownOutcome:     fasthttp.StatusGatewayTimeout,
	model.CodeDiskFull:           fasthttp.StatusInsufficientStorage,
	model.CodeInternal:           fasthttp.StatusInternalServerError,

	model.CodeClusterFailed:      fasthttp.StatusBadGateway,
	model.CodeClusterUnavailable: fasthttp.StatusServiceUnavailable,
	model.CodeClusterTimeout:     fasthttp.StatusGatewayTimeout,

	codeMethodNotAllowed:     fasthttp.StatusMethodNotAllowed,
	codeUnsupportedMediaType: fasthttp.StatusUnsupportedMediaType,
	codeRequestTimeout:       fasthttp.StatusRequestTimeout,
	codeHeaderTooLarge:       fasthttp.StatusRequestHeaderFieldsTooLarge,
}

// status returns the HTTP status of a code; one that is not in the table is a
// defect, and 500.
func status(code model.Code) int {
	if s, ok := statusOf[code]; ok {
		return s
	}
	return fasthttp.StatusInternalServerError
}
