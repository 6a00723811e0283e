// operations.hpp — what each route takes and gives, in JSON Schema.
//
// The route table (gateway/routes.cpp) says what can be asked, by whom and how large it may be;
// this one says in which shape. A route without an operation is found by
// tests/gateway/openapi_test.cpp. An operation is added to the file of its surface:
//
//     inference_operations.cpp   /v1/chat, completions, models, tokenize …
//     responses_operations.cpp   /v1/responses, embeddings
//     adapter_operations.cpp     /v1/adapters
//     file_operations.cpp        /v1/files, /v1/uploads
//     tenant_operations.cpp      /v1/tenant, /v1/usage
//     admin_operations.cpp       /v1/organization: projects, keys, limits, money, permissions
//     webhook_operations.cpp     webhooks of tenants and of the platform
//     usage_operations.cpp       usage, costs, audit logs, /admin/v1/live and backups
//     server_operations.cpp      the rest of /admin/v1
//     ops_operations.cpp         the operations listener, and the document itself
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gateway/openapi/schema.hpp"

namespace tessera::openapi {

inline constexpr std::string_view kJsonMedia = "application/json";

struct Parameter {
  std::string_view name;
  Json schema;
  bool required = false;
};

struct Answer {
  int status = 200;
  Json schema = {};
  std::string_view media = kJsonMedia;
  Json event = {};  // of a stream: the JSON of each event's data
};

struct Operation {
  std::string_view method;
  std::string_view pattern;  // as the route has it
  std::string_view summary;  // one sentence
  std::vector<Answer> answers;
  Json body = {};  // the JSON that the route's body may be; forms are told by the route itself
  std::vector<Parameter> query = {};
  std::vector<std::string_view> headers = {};  // of the request, beside Authorization
  bool needs_body = true;                      // where there is a `body`
};

// The schemas that operations refer to, by name, and the operations.
struct Surface {
  Json schemas = Json::object();
  std::vector<Operation> operations = {};
};

void describe_inference(Surface& surface);
void describe_responses(Surface& surface);
void describe_adapters(Surface& surface);
void describe_files(Surface& surface);
void describe_tenant(Surface& surface);
void describe_admin(Surface& surface);
void describe_webhooks(Surface& surface);
void describe_usage(Surface& surface);
void describe_ops(Surface& surface);
void describe_server(Surface& surface);

// A meter's limits as they are shown.
Members meter_limit_members();

// The query parameters of every list.
std::vector<Parameter> page_parameters();
// And these beside them.
std::vector<Parameter> page_parameters_and(std::vector<Parameter> more);
// Those of audit logs, and of usage in buckets.
std::vector<Parameter> audit_parameters();
std::vector<Parameter> usage_parameters();
// An export of usage records, with `more` parameters than those of time and form.
void add_usage_export(std::string_view pattern, std::vector<Parameter> more,
                      std::vector<Operation>& operations);

}  // namespace tessera::openapi
