#include "tests/webhook/tls_identity.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <csignal>
#include <cstdio>

#include "base/check.h"

namespace forkbox::tests {

TlsSession::~TlsSession() { ::SSL_free(ssl_); }

ssize_t TlsSession::Read(char* data, std::size_t size) {
  return ::SSL_read(ssl_, data, static_cast<int>(size));
}

ssize_t TlsSession::Write(std::string_view text) {
  return ::SSL_write(ssl_, text.data(), static_cast<int>(text.size()));
}

TlsIdentity::TlsIdentity(const std::string& name) : context_(::SSL_CTX_new(::TLS_server_method())) {
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to sockets whose other end is closed
  FORKBOX_CHECK(context_ != nullptr);
  EVP_PKEY* const key = ::EVP_EC_gen("P-256");
  X509* const certificate = ::X509_new();
  FORKBOX_CHECK(key != nullptr && certificate != nullptr);
  ::X509_set_version(certificate, 2);
  ::ASN1_INTEGER_set(::X509_get_serialNumber(certificate), 1);
  ::X509_gmtime_adj(::X509_getm_notBefore(certificate), -60);
  ::X509_gmtime_adj(::X509_getm_notAfter(certificate), 3'600);
  ::X509_set_pubkey(certificate, key);
  X509_NAME* const subject = ::X509_get_subject_name(certificate);
  ::X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  ::X509_set_issuer_name(certificate, subject);
  X509_EXTENSION* const names =
      ::X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, ("DNS:" + name).c_str());
  FORKBOX_CHECK(names != nullptr && ::X509_add_ext(certificate, names, -1) == 1);
  FORKBOX_CHECK(::X509_sign(certificate, key, ::EVP_sha256()) != 0);
  FORKBOX_CHECK(::SSL_CTX_use_certificate(context_, certificate) == 1);
  FORKBOX_CHECK(::SSL_CTX_use_PrivateKey(context_, key) == 1);
  ::X509_EXTENSION_free(names);
  ::X509_free(certificate);
  ::EVP_PKEY_free(key);
}

TlsIdentity::~TlsIdentity() { ::SSL_CTX_free(context_); }

std::unique_ptr<TlsSession> TlsIdentity::Accept(int socket) const {
  SSL* const ssl = ::SSL_new(context_);
  FORKBOX_CHECK(ssl != nullptr && ::SSL_set_fd(ssl, socket) == 1);
  auto session = std::make_unique<TlsSession>(ssl);
  return ::SSL_accept(ssl) == 1 ? std::move(session) : nullptr;
}

void TlsIdentity::WriteCertificate(const std::filesystem::path& file) const {
  std::FILE* const out = std::fopen(file.c_str(), "we");
  FORKBOX_CHECK(out != nullptr);
  FORKBOX_CHECK(::PEM_write_X509(out, ::SSL_CTX_get0_certificate(context_)) == 1);
  FORKBOX_CHECK(std::fclose(out) == 0);
}

}  // namespace forkbox::tests
