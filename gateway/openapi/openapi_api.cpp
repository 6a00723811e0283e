// openapi_api.cpp — GET /openapi.json: what can be asked of this server.
#include "gateway/handlers.hpp"
#include "gateway/openapi/document.hpp"

namespace tessera {

Result<Reply> get_openapi(Platform&, Call&) {
  HttpResponse response;
  response.headers.emplace_back("Content-Type", "application/json");
  response.body = openapi::document_text();
  return Reply(std::move(response));
}

}  // namespace tessera
