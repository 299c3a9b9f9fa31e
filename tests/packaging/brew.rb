# A stand-in for the part of Homebrew's formula language that our formula uses. Loads the formula,
# runs its install, service and test blocks in folders of their own, and stops at the first thing
# that fails.
#
#   ruby brew.rb FORMULA PROGRAM WORK source    as if built from source: `cargo install` is checked,
#                                               and PROGRAM stands for what it would build
#   ruby brew.rb FORMULA PROGRAM WORK TARBALL   from a release's tarball of the program
#
# Not shown by it: that Homebrew accepts the formula (`brew audit`), and that cargo builds.

require "fileutils"
require "open3"
require "pathname"

FORMULA, PROGRAM = ARGV[0..1].map { |path| File.expand_path(path) }
WORK = ARGV[2]
KIND = ARGV[3] == "source" ? ARGV[3] : File.expand_path(ARGV[3])
CELLAR = Pathname(WORK).expand_path

class Pathname
  def install(*sources)
    FileUtils.mkdir_p(self)
    sources.flatten.each do |source|
      from, to = source.is_a?(Hash) ? source.first : [source, File.basename(source.to_s)]
      raise "nothing to install: #{from}" unless File.exist?(from)
      FileUtils.cp(from, self / to)
    end
    raise "nothing to install in #{self}" if sources.flatten.empty?
  end

  # As Homebrew's, which makes the folder, too.
  def write(text)
    dirname.mkpath
    File.write(self, text)
  end
end

# What a `service do` block says.
class Service
  attr_reader :said

  def initialize = @said = {}

  %i[run keep_alive log_path error_log_path].each do |name|
    define_method(name) { |value| @said[name] = value }
  end
end

class Formula
  class << self
    attr_reader :said, :service_block, :test_block

    def inherited(formula) = (formula.instance_variable_set(:@said, {}); $formula = formula)

    %i[desc homepage url sha256 license head].each do |name|
      define_method(name) { |value, **_| @said[name] = value }
    end
    def depends_on(what) = what
    def on_macos = RUBY_PLATFORM.include?("darwin") && yield
    def on_linux = RUBY_PLATFORM.include?("linux") && yield
    def on_arm = RUBY_PLATFORM.match?(/arm|aarch64/) && yield
    def on_intel = RUBY_PLATFORM.match?(/x86_64|x64/) && yield
    def service(&block) = @service_block = block
    def test(&block) = @test_block = block
  end

  def prefix = CELLAR / "prefix"
  def bin = prefix / "bin"
  def opt_bin = bin
  def var = CELLAR / "var"
  def man1 = prefix / "share/man/man1"
  def bash_completion = prefix / "etc/bash_completion.d"
  def zsh_completion = prefix / "share/zsh/site-functions"
  def fish_completion = prefix / "share/fish/vendor_completions.d"
  def testpath = CELLAR / "test"
  def version = self.class.said[:url][/catchment-(\d+\.\d+\.\d+)/, 1]
  def std_cargo_args = ["--locked", "--root=#{prefix}", "--path=."]

  def system(*command)
    command = command.map(&:to_s)
    return built(command) if command[0] == "cargo"
    Kernel.system(*command) or raise "failed: #{command.join(" ")}"
  end

  # `cargo install` would put the program there.
  def built(command)
    raise "not an install: #{command}" unless command[1] == "install"
    raise "no Cargo.toml here" unless File.exist?("Cargo.toml")
    profile = command[command.index("--profile") + 1]
    raise "no profile #{profile}" unless File.read("Cargo.toml").include?("[profile.#{profile}]")
    bin.install(PROGRAM => "catchment")
    FileUtils.chmod(0o755, bin / "catchment")
  end

  def generate_completions_from_executable(*command)
    { "bash" => bash_completion / "catchment", "zsh" => zsh_completion / "_catchment",
      "fish" => fish_completion / "catchment.fish" }.each do |shell, file|
      text, status = Open3.capture2(*command.map(&:to_s), shell)
      raise "no completions for #{shell}" unless status.success?
      file.write(text)
    end
  end

  def shell_output(command)
    text, status = Open3.capture2(command)
    raise "failed: #{command}" unless status.success?
    text
  end

  def assert_equal(want, have) = (want == have or raise "#{have.inspect} is not #{want.inspect}")
  def assert_match(want, have) = (have.match?(want) or raise "#{have.inspect} does not match #{want.inspect}")
end

load FORMULA
%i[desc homepage url sha256 license head].each { |name| $formula.said[name] or raise "no #{name}" }
$formula.said[:sha256].match?(/\A\h{64}\z/) or raise "no checksum"
$formula.said[:desc].length <= 80 or raise "the description is longer than 80 characters"
formula = $formula.new

FileUtils.rm_rf(CELLAR)
build = CELLAR / "build"
build.mkpath
if KIND == "source"
  FileUtils.cp(File.expand_path("../../Cargo.toml", __dir__), build)
else
  Kernel.system("tar", "-xzf", KIND, "-C", build.to_s, "--strip-components=1") or raise "no tarball"
end
Dir.chdir(build) { formula.install }
%w[bin/catchment share/man/man1/catchment.1 share/man/man1/catchment-sync.1 etc/bash_completion.d/catchment
   share/zsh/site-functions/_catchment share/fish/vendor_completions.d/catchment.fish].each do |file|
  (formula.prefix / file).exist? or raise "not installed: #{file}"
end

service = Service.new
names = %i[run keep_alive log_path error_log_path]
names.each { |name| formula.define_singleton_method(name) { |value| service.public_send(name, value) } }
formula.instance_eval(&$formula.service_block)
service.said[:run].map(&:to_s) == [(formula.opt_bin / "catchment").to_s, "serve"] or raise "no service"
# The service's command is one that the program knows.
Kernel.system(*service.said[:run].map(&:to_s), "--help", out: File::NULL) or raise "the service cannot run"

formula.testpath.mkpath
Dir.chdir(formula.testpath) { formula.instance_eval(&$formula.test_block) }
puts "formula: install (#{KIND == "source" ? KIND : "tarball"}), service and test have run"
