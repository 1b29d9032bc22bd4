#include "runner/sandbox/forkserver/config.h"

#include "runner/sandbox/wire.h"

namespace forkbox::sandbox {
namespace {

void WriteTexts(WireWriter& out, const std::vector<std::string>& texts) {
  out.U32(static_cast<std::uint32_t>(texts.size()));
  for (const auto& text : texts) out.Text(text);
}

std::vector<std::string> ReadTexts(WireReader& in) {
  std::vector<std::string> texts;
  for (std::uint32_t n = in.Count(4); n > 0; --n) texts.emplace_back(in.Text());
  return texts;
}

// False when it is none of those up to `last`.
template <class Enum>
bool ReadOneOf(WireReader* in, Enum last, Enum* read) {
  const std::uint32_t value = in->U32();
  if (value > static_cast<std::uint32_t>(last)) return false;
  *read = static_cast<Enum>(value);
  return true;
}

}  // namespace

std::string ForkserverConfig::Encode() const {
  WireWriter out;
  out.U32(uid_base);
  out.U32(uid_count);
  out.U32(privileged ? 1 : 0);
  out.U32(static_cast<std::uint32_t>(root));
  out.U32(kvm ? 1 : 0);
  out.U32(static_cast<std::uint32_t>(templates.size()));
  for (const TemplateSpec& spec : templates) {
    out.Text(spec.name);
    WriteTexts(out, spec.command);
    WriteTexts(out, spec.env);
    out.U32(spec.lazy ? 1 : 0);
    out.U32(static_cast<std::uint32_t>(spec.filter));
  }
  out.U32(static_cast<std::uint32_t>(binds.size()));
  for (const BindSpec& bind : binds) {
    out.Text(bind.source);
    out.Text(bind.target);
  }
  return out.bytes();
}

std::optional<ForkserverConfig> ForkserverConfig::Decode(std::string_view bytes) {
  WireReader in(bytes);
  ForkserverConfig config;
  config.uid_base = in.U32();
  config.uid_count = in.U32();
  config.privileged = in.U32() != 0;
  bool known = ReadOneOf(&in, RootKind::kMachines, &config.root);
  config.kvm = in.U32() != 0;
  for (std::uint32_t n = in.Count(20); n > 0; --n) {
    TemplateSpec spec;
    spec.name = in.Text();
    spec.command = ReadTexts(in);
    spec.env = ReadTexts(in);
    spec.lazy = in.U32() != 0;
    known = ReadOneOf(&in, TemplateSpec::Filter::kMachine, &spec.filter) && known;
    config.templates.push_back(std::move(spec));
  }
  for (std::uint32_t n = in.Count(8); n > 0; --n) {
    BindSpec bind;
    bind.source = in.Text();
    bind.target = in.Text();
    config.binds.push_back(std::move(bind));
  }
  if (!known || !in.AtEnd()) return std::nullopt;
  return config;
}

}  // namespace forkbox::sandbox
