// handlers.hpp — every handler of the two route tables, by the file that it lives in.
#pragma once

#include "gateway/routes.hpp"

namespace tessera {

// openapi/openapi_api.cpp
Result<Reply> get_openapi(Platform& platform, Call& call);

// chat_api.cpp, completions_api.cpp, embeddings_api.cpp
Result<Reply> create_chat_completion(Platform& platform, Call& call);
Result<Reply> create_response(Platform& platform, Call& call);
Result<Reply> create_completion(Platform& platform, Call& call);
Result<Reply> create_embeddings(Platform& platform, Call& call);

// tokenize_api.cpp
Result<Reply> tokenize(Platform& platform, Call& call);
Result<Reply> detokenize(Platform& platform, Call& call);

// models_api.cpp
Result<Reply> list_models(Platform& platform, Call& call);
Result<Reply> get_model(Platform& platform, Call& call);

// adapters/upload_api.cpp
Result<Reply> create_adapter(Platform& platform, Call& call);
Result<Reply> create_adapter_version(Platform& platform, Call& call);
Result<Reply> create_draft(Platform& platform, Call& call);
Result<Reply> put_draft_file(Platform& platform, Call& call);
Result<Reply> complete_draft(Platform& platform, Call& call);
Result<Reply> cancel_draft(Platform& platform, Call& call);

// adapters/files_api.cpp
Result<Reply> create_file(Platform& platform, Call& call);
Result<Reply> list_files(Platform& platform, Call& call);
Result<Reply> get_file(Platform& platform, Call& call);
Result<Reply> get_file_content(Platform& platform, Call& call);
Result<Reply> delete_file(Platform& platform, Call& call);

// adapters/uploads_api.cpp
Result<Reply> create_upload(Platform& platform, Call& call);
Result<Reply> get_upload(Platform& platform, Call& call);
Result<Reply> add_upload_part(Platform& platform, Call& call);
Result<Reply> complete_upload(Platform& platform, Call& call);
Result<Reply> cancel_upload(Platform& platform, Call& call);

// adapters/acceptance_api.cpp
Result<Reply> get_acceptance(Platform& platform, Call& call);
Result<Reply> put_acceptance(Platform& platform, Call& call);
Result<Reply> delete_acceptance(Platform& platform, Call& call);

// adapters/adapters_api.cpp
Result<Reply> list_adapters(Platform& platform, Call& call);
Result<Reply> get_adapter(Platform& platform, Call& call);
Result<Reply> list_adapter_versions(Platform& platform, Call& call);
Result<Reply> get_adapter_version(Platform& platform, Call& call);
Result<Reply> modify_adapter(Platform& platform, Call& call);
Result<Reply> get_adapter_report(Platform& platform, Call& call);
Result<Reply> get_adapter_file(Platform& platform, Call& call);
Result<Reply> delete_adapter(Platform& platform, Call& call);
Result<Reply> delete_adapter_version(Platform& platform, Call& call);
Result<Reply> delete_model(Platform& platform, Call& call);

// adapters/aliases_api.cpp
Result<Reply> list_adapter_aliases(Platform& platform, Call& call);
Result<Reply> get_adapter_alias(Platform& platform, Call& call);
Result<Reply> set_adapter_alias(Platform& platform, Call& call);
Result<Reply> roll_back_adapter_alias(Platform& platform, Call& call);
Result<Reply> delete_adapter_alias(Platform& platform, Call& call);

// adapters/residency_api.cpp
Result<Reply> preload_adapter_version(Platform& platform, Call& call);
Result<Reply> pin_adapter_version(Platform& platform, Call& call);
Result<Reply> unpin_adapter_version(Platform& platform, Call& call);
Result<Reply> evict_adapter_version(Platform& platform, Call& call);

// adapters/quarantine_api.cpp, for admins
Result<Reply> quarantine_adapter_version(Platform& platform, Call& call);
Result<Reply> release_adapter_version(Platform& platform, Call& call);

// adapters/events_api.cpp
Result<Reply> stream_events(Platform& platform, Call& call);
Result<Reply> stream_adapter_events(Platform& platform, Call& call);

// admin/backup_api.cpp
Result<Reply> create_backup(Platform& platform, Call& call);
Result<Reply> list_backups(Platform& platform, Call& call);
Result<Reply> delete_backup(Platform& platform, Call& call);

Result<Reply> verify_backup(Platform& platform, Call& call);

// admin/live_api.cpp
Result<Reply> get_live(Platform& platform, Call& call);

// admin/server_api.cpp: the running server itself
Result<Reply> get_config(Platform& platform, Call& call);
Result<Reply> set_config(Platform& platform, Call& call);
Result<Reply> drain_server(Platform& platform, Call& call);
Result<Reply> undrain_server(Platform& platform, Call& call);
Result<Reply> get_residency(Platform& platform, Call& call);
Result<Reply> rotate_pepper(Platform& platform, Call& call);
Result<Reply> debug_tenant(Platform& platform, Call& call);

// admin/organization_api.cpp: limits of all tenants together
Result<Reply> list_organization_limits(Platform& platform, Call& call);
Result<Reply> modify_organization_limit(Platform& platform, Call& call);
Result<Reply> get_organization_spend_limit(Platform& platform, Call& call);
Result<Reply> set_organization_spend_limit(Platform& platform, Call& call);
Result<Reply> delete_organization_spend_limit(Platform& platform, Call& call);

// admin/tenant_metrics_api.cpp
Result<Reply> get_tenant_metrics(Platform& platform, Call& call);

// admin/spend_api.cpp
Result<Reply> get_spend_limit(Platform& platform, Call& call);
Result<Reply> set_spend_limit(Platform& platform, Call& call);
Result<Reply> delete_spend_limit(Platform& platform, Call& call);

// admin/policy_api.cpp
Result<Reply> get_model_permissions(Platform& platform, Call& call);
Result<Reply> set_model_permissions(Platform& platform, Call& call);
Result<Reply> delete_model_permissions(Platform& platform, Call& call);
Result<Reply> get_ip_allowlist(Platform& platform, Call& call);
Result<Reply> set_ip_allowlist(Platform& platform, Call& call);
Result<Reply> delete_ip_allowlist(Platform& platform, Call& call);

// admin/tenant_api.cpp
Result<Reply> get_own_tenant(Platform& platform, Call& call);
Result<Reply> modify_own_tenant(Platform& platform, Call& call);
Result<Reply> get_own_limits(Platform& platform, Call& call);

// webhooks/webhooks_api.cpp: a tenant's own, and the platform's for admins
Result<Reply> list_own_webhooks(Platform& platform, Call& call);
Result<Reply> create_own_webhook(Platform& platform, Call& call);
Result<Reply> get_own_webhook(Platform& platform, Call& call);
Result<Reply> delete_own_webhook(Platform& platform, Call& call);
Result<Reply> rotate_own_webhook(Platform& platform, Call& call);
Result<Reply> test_own_webhook(Platform& platform, Call& call);
Result<Reply> list_webhooks(Platform& platform, Call& call);
Result<Reply> create_webhook(Platform& platform, Call& call);
Result<Reply> get_webhook(Platform& platform, Call& call);
Result<Reply> delete_webhook(Platform& platform, Call& call);
Result<Reply> rotate_webhook(Platform& platform, Call& call);
Result<Reply> test_webhook(Platform& platform, Call& call);

// admin_api.cpp: tenants and their service accounts
Result<Reply> list_projects(Platform& platform, Call& call);
Result<Reply> create_project(Platform& platform, Call& call);
Result<Reply> get_project(Platform& platform, Call& call);
Result<Reply> modify_project(Platform& platform, Call& call);
Result<Reply> archive_project(Platform& platform, Call& call);
Result<Reply> list_service_accounts(Platform& platform, Call& call);
Result<Reply> create_service_account(Platform& platform, Call& call);
Result<Reply> get_service_account(Platform& platform, Call& call);
Result<Reply> modify_service_account(Platform& platform, Call& call);
Result<Reply> delete_service_account(Platform& platform, Call& call);

// keys_api.cpp: a project's and the platform's keys for admins, a tenant's own
Result<Reply> create_service_account_key(Platform& platform, Call& call);
Result<Reply> list_project_keys(Platform& platform, Call& call);
Result<Reply> get_project_key(Platform& platform, Call& call);
Result<Reply> delete_project_key(Platform& platform, Call& call);
Result<Reply> modify_project_key(Platform& platform, Call& call);
Result<Reply> disable_project_key(Platform& platform, Call& call);
Result<Reply> enable_project_key(Platform& platform, Call& call);
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
Result<Reply> modify_own_key(Platform& platform, Call& call);
Result<Reply> disable_own_key(Platform& platform, Call& call);
Result<Reply> enable_own_key(Platform& platform, Call& call);
Result<Reply> rotate_own_key(Platform& platform, Call& call);

// audit_api.cpp
Result<Reply> list_audit_logs(Platform& platform, Call& call);
Result<Reply> list_own_audit_logs(Platform& platform, Call& call);

// limits_api.cpp: a tenant's limits, for admins
Result<Reply> list_rate_limits(Platform& platform, Call& call);
Result<Reply> modify_rate_limit(Platform& platform, Call& call);
Result<Reply> delete_rate_limit(Platform& platform, Call& call);

// usage_api.cpp
Result<Reply> get_embeddings_usage(Platform& platform, Call& call);
Result<Reply> get_completions_usage(Platform& platform, Call& call);
Result<Reply> get_costs(Platform& platform, Call& call);
Result<Reply> get_own_usage(Platform& platform, Call& call);
Result<Reply> get_own_completions_usage(Platform& platform, Call& call);

// usage_export_api.cpp
Result<Reply> export_usage(Platform& platform, Call& call);
Result<Reply> export_own_usage(Platform& platform, Call& call);

// spend_alerts_api.cpp
Result<Reply> list_organization_spend_alerts(Platform& platform, Call& call);
Result<Reply> create_organization_spend_alert(Platform& platform, Call& call);
Result<Reply> get_organization_spend_alert(Platform& platform, Call& call);
Result<Reply> modify_organization_spend_alert(Platform& platform, Call& call);
Result<Reply> delete_organization_spend_alert(Platform& platform, Call& call);
Result<Reply> list_spend_alerts(Platform& platform, Call& call);
Result<Reply> create_spend_alert(Platform& platform, Call& call);
Result<Reply> get_spend_alert(Platform& platform, Call& call);
Result<Reply> modify_spend_alert(Platform& platform, Call& call);
Result<Reply> delete_spend_alert(Platform& platform, Call& call);

// ops_api.cpp
Result<Reply> livez(Platform& platform, Call& call);
Result<Reply> readyz(Platform& platform, Call& call);
Result<Reply> startupz(Platform& platform, Call& call);
Result<Reply> get_version(Platform& platform, Call& call);
Result<Reply> get_metrics(Platform& platform, Call& call);

}  // namespace tessera
