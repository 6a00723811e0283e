// tls_context.hpp — the server's certificate, and how it is exchanged while connections are open.
//
// Each connection keeps the context that it began with; reload() makes another for those that come
// after. Files that cannot be used leave the old ones in force, so that a mistake in a renewal
// costs a log line and not the service.
#pragma once

#include <filesystem>
#include <memory>

#include <boost/asio/ssl/context.hpp>

#include "storage/mutex.hpp"
#include "storage/result.hpp"

namespace tessera {

struct TlsFiles {
  std::filesystem::path certificate = {};  // PEM: the server's, then its chain
  std::filesystem::path key = {};          // PEM
  // PEM of those whose client certificates are believed; empty: clients are not asked for any.
  std::filesystem::path client_ca = {};

  bool enabled() const { return !certificate.empty(); }
};

// Thread-safe; owned by main.
class TlsContexts {
 public:
  using Context = std::shared_ptr<boost::asio::ssl::context>;

  // Errors: kIo, naming the file, if one cannot be read or they do not fit together.
  static Result<std::unique_ptr<TlsContexts>> open(const TlsFiles& files);

  Context current() const;
  // Reads the files again. Errors: those of open(); then nothing changes.
  Result<void> reload();

 private:
  TlsContexts(TlsFiles files, Context context)
      : files_(std::move(files)), context_(std::move(context)) {}

  const TlsFiles files_;
  mutable Mutex mutex_;
  Context context_ TESSERA_GUARDED_BY(mutex_);
};

}  // namespace tessera
