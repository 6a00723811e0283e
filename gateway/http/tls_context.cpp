#include "gateway/http/tls_context.hpp"

#include <string_view>
#include <utility>

#include <openssl/ssl.h>

namespace tessera {
namespace {

namespace ssl = boost::asio::ssl;

// HTTP/1.1 if the client names its protocols at all; another one is refused by an alert.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* chosen_size,
                    const unsigned char* offered, unsigned int offered_size, void*) {
  static constexpr unsigned char kHttp11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
  unsigned char* found = nullptr;
  const int match =
      SSL_select_next_proto(&found, chosen_size, kHttp11, sizeof kHttp11, offered, offered_size);
  *chosen = found;
  return match == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

Error unusable(const std::filesystem::path& file, const boost::system::error_code& error) {
  return {Code::kIo, "The TLS file " + file.string() + " cannot be used: " + error.message() + "."};
}

Result<TlsContexts::Context> make_context(const TlsFiles& files) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  boost::system::error_code error;
  context->set_options(ssl::context::default_workarounds | ssl::context::no_tlsv1 |
                           ssl::context::no_tlsv1_1 | SSL_OP_NO_RENEGOTIATION,
                       error);
  if (!error) context->use_certificate_chain_file(files.certificate.string(), error);
  if (error) return unusable(files.certificate, error);
  context->use_private_key_file(files.key.string(), ssl::context::pem, error);
  if (!error && SSL_CTX_check_private_key(context->native_handle()) != 1) {
    return Error{Code::kIo, "The TLS key " + files.key.string() + " is not the certificate's."};
  }
  if (error) return unusable(files.key, error);
  SSL_CTX_set_alpn_select_cb(context->native_handle(), choose_protocol, nullptr);
  if (files.client_ca.empty()) return context;
  context->load_verify_file(files.client_ca.string(), error);
  if (!error) context->set_verify_mode(ssl::verify_peer | ssl::verify_client_once, error);
  if (error) return unusable(files.client_ca, error);
  static constexpr unsigned char kSessions[] = "tessera";
  SSL_CTX_set_session_id_context(context->native_handle(), kSessions, sizeof kSessions - 1);
  return context;
}

}  // namespace

Result<std::unique_ptr<TlsContexts>> TlsContexts::open(const TlsFiles& files) {
  auto context = make_context(files);
  if (!context) return context.error();
  return std::unique_ptr<TlsContexts>(new TlsContexts(files, *std::move(context)));
}

TlsContexts::Context TlsContexts::current() const {
  const MutexLock lock(mutex_);
  return context_;
}

Result<void> TlsContexts::reload() {
  auto context = make_context(files_);
  if (!context) return context.error();
  const MutexLock lock(mutex_);
  context_.swap(*context);
  return {};
}

}  // namespace tessera
