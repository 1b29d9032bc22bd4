// TlsIdentity: a fresh key and a certificate for one name that it vouches for itself.
#pragma once

#include <openssl/types.h>
#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace forkbox::tests {

// The server's end of one connection. One thread.
class TlsSession {
 public:
  explicit TlsSession(SSL* ssl) : ssl_(ssl) {}
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  // As read(2) and write(2).
  ssize_t Read(char* data, std::size_t size);
  ssize_t Write(std::string_view text);

 private:
  SSL* const ssl_;
};

class TlsIdentity {
 public:
  explicit TlsIdentity(const std::string& name);
  ~TlsIdentity();
  TlsIdentity(const TlsIdentity&) = delete;
  TlsIdentity& operator=(const TlsIdentity&) = delete;

  // Null when the handshake fails.
  [[nodiscard]] std::unique_ptr<TlsSession> Accept(int socket) const;
  // For whoever is to trust it.
  void WriteCertificate(const std::filesystem::path& file) const;

 private:
  SSL_CTX* context_ = nullptr;
};

}  // namespace forkbox::tests
