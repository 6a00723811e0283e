// handlers.hpp — every handler of the two route tables, by the file that it lives in.
#pragma once

#include "gateway/routes.hpp"

namespace tessera {

// chat_api.cpp, completions_api.cpp
Result<Reply> create_chat_completion(Platform& platform, Call& call);
Result<Reply> create_completion(Platform& platform, Call& call);

// tokenize_api.cpp
Result<Reply> tokenize(Platform& platform, Call& call);
Result<Reply> detokenize(Platform& platform, Call& call);

// models_api.cpp
Result<Reply> list_models(Platform& platform, Call& call);
Result<Reply> get_model(Platform& platform, Call& call);

// adapters_api.cpp
Result<Reply> create_adapter(Platform& platform, Call& call);
Result<Reply> create_adapter_version(Platform& platform, Call& call);
Result<Reply> list_adapters(Platform& platform, Call& call);
Result<Reply> get_adapter(Platform& platform, Call& call);
Result<Reply> list_adapter_versions(Platform& platform, Call& call);
Result<Reply> get_adapter_version(Platform& platform, Call& call);
Result<Reply> delete_adapter(Platform& platform, Call& call);
Result<Reply> delete_adapter_version(Platform& platform, Call& call);

// admin_api.cpp: tenants and their service accounts
Result<Reply> list_projects(Platform& platform, Call& call);
Result<Reply> create_project(Platform& platform, Call& call);
Result<Reply> get_project(Platform& platform, Call& call);
Result<Reply> modify_project(Platform& platform, Call& call);
Result<Reply> archive_project(Platform& platform, Call& call);
Result<Reply> list_service_accounts(Platform& platform, Call& call);
Result<Reply> create_service_account(Platform& platform, Call& call);

// keys_api.cpp: a project's and the platform's keys for admins, a tenant's own
Result<Reply> create_service_account_key(Platform& platform, Call& call);
Result<Reply> list_project_keys(Platform& platform, Call& call);
Result<Reply> get_project_key(Platform& platform, Call& call);
Result<Reply> delete_project_key(Platform& platform, Call& call);
Result<Reply> rotate_project_key(Platform& platform, Call& call);
Result<Reply> list_admin_keys(Platform& platform, Call& call);
Result<Reply> get_admin_key(Platform& platform, Call& call);
Result<Reply> create_admin_key(Platform& platform, Call& call);
Result<Reply> delete_admin_key(Platform& platform, Call& call);
Result<Reply> rotate_admin_key(Platform& platform, Call& call);
Result<Reply> create_own_key(Platform& platform, Call& call);
Result<Reply> list_own_keys(Platform& platform, Call& call);
Result<Reply> get_own_key(Platform& platform, Call& call);
Result<Reply> delete_own_key(Platform& platform, Call& call);
Result<Reply> rotate_own_key(Platform& platform, Call& call);

// audit_api.cpp
Result<Reply> list_audit_logs(Platform& platform, Call& call);
Result<Reply> list_own_audit_logs(Platform& platform, Call& call);

// limits_api.cpp: a tenant's limits, for admins
Result<Reply> list_rate_limits(Platform& platform, Call& call);
Result<Reply> modify_rate_limit(Platform& platform, Call& call);

// usage_api.cpp
Result<Reply> get_completions_usage(Platform& platform, Call& call);
Result<Reply> get_own_usage(Platform& platform, Call& call);

// ops_api.cpp
Result<Reply> livez(Platform& platform, Call& call);
Result<Reply> readyz(Platform& platform, Call& call);
Result<Reply> get_metrics(Platform& platform, Call& call);

}  // namespace tessera
