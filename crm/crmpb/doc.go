// Package crmpb holds the messages and services of a CRM that speaks gRPC,
// generated from crm/proto by `make proto`. The .proto files follow the CRMs in
// the field: what they fix are the packages, the names of services and methods,
// the numbers of fields, and which scalars know whether they were set.
//
// Nothing but generated code, this file and its tests belongs here. What the
// messages mean, and how they become the model's types, is crm's business.
package crmpb
