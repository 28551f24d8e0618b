"""Every refusal that a client can meet: its HTTP status, and what it says in English and Spanish.

One row per error class; a test demands it. `{name}` stands for a field of the error. Codes are
never translated. `api/problem_json.py` makes the documents (RFC 9457) from these rows.
"""

from typing import NamedTuple

from api import refusals
from commerce import (
    access,
    availability,
    carts,
    clienteling,
    customers,
    follow_ups,
    fulfillment,
    lists,
    matching,
    messages,
    orders,
    outreach,
    payments,
    pricing,
    provider,
    returns,
)
from commerce.kernel import errors, idempotency, readers, sql
from inventory import demands, stock
from pos_sync import baskets


class Row(NamedTuple):
    """Status, then title and detail in each language."""

    status: int
    en: tuple[str, str]
    es: tuple[str, str]


PROBLEMS: dict[type[errors.CommerceError], Row] = {
    # The request itself
    refusals.MalformedBody: Row(
        400,
        ("Not JSON", "The body is not valid JSON: {reason}."),
        ("No es JSON", "El cuerpo no es JSON válido: {reason}."),
    ),
    refusals.InvalidRequest: Row(
        400,
        ("Invalid request", "{path}: {reason}."),
        ("Solicitud no válida", "{path}: {reason}."),
    ),
    refusals.IdempotencyKeyMissing: Row(
        400,
        (
            "Idempotency key missing",
            "Send an Idempotency-Key header, new for each command and the same when repeating it.",
        ),
        (
            "Falta la clave de idempotencia",
            "Envía la cabecera Idempotency-Key: nueva en cada orden, la misma al repetirla.",
        ),
    ),
    refusals.NothingHere: Row(
        404,
        ("Not found", "There is nothing at this address."),
        ("No encontrado", "No hay nada en esta dirección."),
    ),
    refusals.MethodNotAllowed: Row(
        405,
        ("Method not allowed", "This address exists, but not for this method."),
        ("Método no permitido", "Esta dirección existe, pero no para este método."),
    ),
    refusals.BodyTooLarge: Row(
        413,
        ("Body too large", "The body may have at most {limit_bytes} bytes."),
        ("Cuerpo demasiado grande", "El cuerpo puede tener como máximo {limit_bytes} bytes."),
    ),
    refusals.RateLimited: Row(
        429,
        ("Too many requests", "Try again in {retry_after_seconds} s."),
        ("Demasiadas solicitudes", "Inténtalo de nuevo en {retry_after_seconds} s."),
    ),
    refusals.OriginNotAllowed: Row(
        403,
        ("Origin not allowed", "No key may be used from this web origin. Add it to a key."),
        ("Origen no permitido", "Ninguna clave vale desde este origen web. Añádelo a una clave."),
    ),
    refusals.InternalError: Row(
        500,
        ("Internal error", "The fault is ours. Tell us the request id."),
        ("Error interno", "El fallo es nuestro. Indícanos el identificador de la solicitud."),
    ),
    # The kernel
    errors.NotFound: Row(
        404,
        ("Not found", "There is no {kind} {id}, or you may not see it."),
        ("No encontrado", "No existe {kind} {id}, o no puedes verlo."),
    ),
    errors.WrongState: Row(
        409,
        ("Wrong state", "The {kind} is {state}; this needs one of {allowed}."),
        ("Estado incorrecto", "{kind} está en {state}; hace falta uno de {allowed}."),
    ),
    errors.InvalidField: Row(
        422,
        ("Invalid field", "{path}: {reason}"),
        ("Campo no válido", "{path}: {reason}"),
    ),
    sql.Busy: Row(
        503,
        ("Busy", "Nothing was changed. Try again in {retry_after_seconds} s."),
        ("Ocupado", "No se ha cambiado nada. Inténtalo de nuevo en {retry_after_seconds} s."),
    ),
    readers.StartOver: Row(
        410,
        ("Start over", "This cursor is too old. Fetch the present state and start from there."),
        ("Empieza de nuevo", "Este cursor es demasiado antiguo. Pide el estado actual."),
    ),
    idempotency.KeyReused: Row(
        422,
        ("Idempotency key reused", "This key came before with another request. Use a new key."),
        ("Clave reutilizada", "Esta clave ya llegó con otra solicitud. Usa una nueva."),
    ),
    idempotency.KeyRunning: Row(
        409,
        ("Still running", "The first request with this key has no answer yet. Ask again soon."),
        ("Aún en curso", "La primera solicitud con esta clave sigue en curso. Repite en breve."),
    ),
    # Goods
    availability.TooMany: Row(
        422,
        ("Too many", "{given} {what} in one request; at most {limit}. Ask in several."),
        ("Demasiados", "{given} {what} en una solicitud; como máximo {limit}. Repártelos."),
    ),
    stock.QuantityOutOfRange: Row(
        422,
        ("Quantity out of range", "{quantity} of {sku} is too much; at most {maximum}."),
        ("Cantidad fuera de rango", "{quantity} de {sku} es demasiado; como máximo {maximum}."),
    ),
    demands.HoldExpired: Row(
        409,
        ("Hold expired", "The goods are no longer held. Hold them again."),
        ("Apartado vencido", "La mercancía ya no está apartada. Vuelve a apartarla."),
    ),
    # Orders
    pricing.UnknownStore: Row(
        422,
        ("Unknown store", "There is no store {location_id}."),
        ("Tienda desconocida", "No existe la tienda {location_id}."),
    ),
    pricing.UnknownSku: Row(
        422,
        ("Unknown SKU", "{sku} is not sold at this store."),
        ("SKU desconocido", "{sku} no se vende en esta tienda."),
    ),
    pricing.CouponRefused: Row(
        409,
        ("Coupon refused", "The coupon {coupon_code} cannot be used here: {reason}."),
        ("Cupón rechazado", "El cupón {coupon_code} no se puede usar aquí: {reason}."),
    ),
    orders.PriceChanged: Row(
        409,
        ("Price changed", "The total has changed. Show the new one and ask again."),
        ("El precio cambió", "El total ha cambiado. Muestra el nuevo y pregunta otra vez."),
    ),
    orders.PickupUnavailable: Row(
        409,
        ("No pickup here", "This store does not hand out orders: {reason}."),
        ("Sin recogida aquí", "Esta tienda no entrega pedidos: {reason}."),
    ),
    orders.StockShort: Row(
        409,
        ("Not enough stock", "The store has too few of some lines; nothing was held."),
        ("Existencias insuficientes", "A la tienda le faltan unidades; no se apartó nada."),
    ),
    orders.StockGone: Row(
        409,
        ("Stock gone", "The payment came too late; the goods are promised to others."),
        ("Sin existencias", "El pago llegó tarde; la mercancía ya está prometida a otros."),
    ),
    # Carts
    carts.CartOrdered: Row(
        409,
        ("Cart ordered", "This cart has become the order {order_id}. Start a new one."),
        ("Carrito pedido", "Este carrito ya es el pedido {order_id}. Empieza otro."),
    ),
    carts.CartMerged: Row(
        409,
        ("Cart merged", "This cart has gone into {merged_into} at sign-in. Go on with that one."),
        ("Carrito unido", "Este carrito pasó a {merged_into} al entrar. Sigue con ese."),
    ),
    carts.CartChanged: Row(
        412,
        ("Cart changed", "The cart is at revision {revision} by now. Read it and decide again."),
        ("El carrito cambió", "El carrito va en la revisión {revision}. Léelo y decide otra vez."),
    ),
    carts.CartElsewhere: Row(
        409,
        ("Cart elsewhere", "Its goods are at {location_id}. Choose your own store for it first."),
        ("Carrito en otra tienda", "Está en {location_id}. Elige primero tu propia tienda."),
    ),
    carts.TooManyTries: Row(
        429,
        ("Too many tries", "Too many wrong codes. Wait {retry_after_seconds} s for another."),
        ("Demasiados intentos", "Demasiados códigos erróneos. Espera {retry_after_seconds} s."),
    ),
    lists.ListNotShareable: Row(
        409,
        ("List not shareable", "What is saved for later is private. Share the wishlist or a list."),
        ("Lista privada", "Lo guardado para después no se comparte. Comparte la lista de deseos."),
    ),
    carts.CartEmpty: Row(
        422,
        ("Cart empty", "Put something into the cart first."),
        ("Carrito vacío", "Primero pon algo en el carrito."),
    ),
    carts.StoreNotChosen: Row(
        422,
        ("No store chosen", "Choose the pickup store first."),
        ("Sin tienda", "Primero elige la tienda de recogida."),
    ),
    carts.CheckoutExpired: Row(
        409,
        ("Checkout expired", "The goods are held no more. Begin the checkout again."),
        ("Compra vencida", "La mercancía ya no está apartada. Empieza de nuevo la compra."),
    ),
    # Messages
    messages.UnknownTemplate: Row(
        422,
        ("Unknown template", "There is no message template {template}; there are {known}."),
        ("Plantilla desconocida", "No existe la plantilla {template}; existen {known}."),
    ),
    messages.ParameterMissing: Row(
        422,
        ("Parameter missing", "The message {template} also needs {missing}."),
        ("Falta un parámetro", "El mensaje {template} necesita además {missing}."),
    ),
    messages.TemplateInvalid: Row(
        422,
        ("Template invalid", "{part}, line {line}: {reason}."),
        ("Plantilla no válida", "{part}, línea {line}: {reason}."),
    ),
    messages.ConversationOver: Row(
        409,
        ("Conversation over", "They wrote too long ago to be answered here."),
        ("Conversación terminada", "Escribió hace demasiado para contestarle aquí."),
    ),
    messages.CallbackRefused: Row(
        400,
        ("Callback refused", "Nothing was noted: {reason}."),
        ("Aviso rechazado", "No se anotó nada: {reason}."),
    ),
    messages.LinkInvalid: Row(
        404,
        ("Link invalid", "This link is not one of ours. Open the one in your newest message."),
        ("Enlace no válido", "Este enlace no es nuestro. Abre el de tu mensaje más reciente."),
    ),
    # Keys, sessions, permissions
    refusals.KeyMissing: Row(
        401,
        ("API key missing", "Send your key in the X-API-Key header."),
        ("Falta la clave de API", "Envía tu clave en la cabecera X-API-Key."),
    ),
    access.KeyInvalid: Row(
        401,
        ("API key invalid", "The key is unknown, revoked or has run out."),
        ("Clave de API no válida", "La clave no existe, fue revocada o ha caducado."),
    ),
    access.FreshSignInRequired: Row(
        403,
        ("Sign in again", "This needs a sign-in within the last {within_seconds} s."),
        ("Inicia sesión de nuevo", "Hace falta iniciar sesión en los últimos {within_seconds} s."),
    ),
    access.SessionInvalid: Row(
        401,
        ("Session invalid", "The session has ended, or it does not belong to this key."),
        ("Sesión no válida", "La sesión ha terminado o no pertenece a esta clave."),
    ),
    access.SessionRequired: Row(
        401,
        ("Sign-in required", "Sign in, and send the session as Authorization: Bearer."),
        ("Hay que iniciar sesión", "Inicia sesión y envíala como Authorization: Bearer."),
    ),
    access.SignInRefused: Row(
        401,
        (
            "Sign-in refused",
            "Code and PIN do not fit, or five wrong tries have locked them for 15 minutes.",
        ),
        (
            "Acceso rechazado",
            "Código y PIN no coinciden, o cinco intentos los han bloqueado 15 minutos.",
        ),
    ),
    access.StoreNotAllowed: Row(
        403,
        ("Not your store", "You are not assigned to this store."),
        ("No es tu tienda", "No estás asignado a esta tienda."),
    ),
    access.PermissionDenied: Row(
        403,
        ("Not allowed", "This needs the permission {permission}."),
        ("No permitido", "Hace falta el permiso {permission}."),
    ),
    # Shoppers
    customers.CodeRefused: Row(
        401,
        ("Code refused", "The code is wrong, used or too old. Ask for a new one."),
        ("Código rechazado", "El código es incorrecto, usado o antiguo. Pide uno nuevo."),
    ),
    customers.TooManyCodes: Row(
        429,
        ("Too many codes", "Enough codes were sent. Try again in {retry_after_seconds} s."),
        ("Demasiados códigos", "Ya se enviaron varios. Repite en {retry_after_seconds} s."),
    ),
    customers.TokenRefused: Row(
        401,
        ("Token refused", "The token is not genuine, over, or not for us. Get a new one."),
        ("Token rechazado", "El token no es auténtico, caducó o no es para nosotros. Pide otro."),
    ),
    customers.ExternalSignInOff: Row(
        404,
        ("No external sign-in", "Nobody signs in with tokens here. Ask for a code instead."),
        ("Sin acceso externo", "Aquí no se entra con tokens. Pide un código."),
    ),
    customers.IssuerUnavailable: Row(
        503,
        ("Issuer unavailable", "The issuer's keys did not come. Retry in {retry_after_seconds} s."),
        ("Emisor no disponible", "No llegaron sus claves. Repite en {retry_after_seconds} s."),
    ),
    customers.AddressTaken: Row(
        409,
        ("Address taken", "Another profile signs in with this. A store can join the two."),
        ("Dirección en uso", "Otro perfil entra con ella. Una tienda puede unirlos."),
    ),
    customers.ProfileCodeRefused: Row(
        422,
        ("Profile code refused", "This code is not genuine, or too old. Show a new one."),
        ("Código de perfil rechazado", "El código no es auténtico o es antiguo. Muestra otro."),
    ),
    customers.AlreadyOnePerson: Row(
        409,
        ("Already one person", "Both belong to the profile {shopper_id}."),
        ("Ya son una persona", "Los dos pertenecen al perfil {shopper_id}."),
    ),
    matching.MergeUnproven: Row(
        403,
        (
            "Not proven",
            "What they share was only typed by somebody. The back office decides about them.",
        ),
        (
            "Sin prueba",
            "Lo que comparten solo lo escribió alguien. Decide la administración central.",
        ),
    ),
    customers.MergeStale: Row(
        409,
        ("Changed meanwhile", "One of the two has changed. Look at the preview again."),
        ("Cambió entretanto", "Uno de los dos ha cambiado. Vuelve a compararlos."),
    ),
    customers.PersonTooLarge: Row(
        409,
        ("Too many profiles", "A person has at most {limit} profiles. Undo a merge first."),
        ("Demasiados perfiles", "Una persona tiene como máximo {limit}. Deshaz otra unión antes."),
    ),
    # Payments and their provider
    payments.PaymentRunning: Row(
        409,
        ("Payment running", "The card is still being asked. Try again soon."),
        ("Pago en curso", "Aún se está consultando la tarjeta. Repite en breve."),
    ),
    payments.AuthorizationLapsed: Row(
        409,
        ("Authorization lapsed", "The card's hold has run out. Take another tender."),
        ("Autorización caducada", "La retención de la tarjeta ha caducado. Usa otro pago."),
    ),
    payments.RefundExceedsCapture: Row(
        422,
        ("Refund too large", "{refundable_minor} of {requested_minor} can be refunded."),
        ("Reembolso excesivo", "Se pueden reembolsar {refundable_minor} de {requested_minor}."),
    ),
    provider.ProviderUnavailable: Row(
        503,
        ("Payment provider unavailable", "The payment provider did not answer. Try again soon."),
        ("Proveedor de pagos no disponible", "El proveedor de pagos no respondió. Repite luego."),
    ),
    provider.ProviderRefused: Row(
        502,
        ("Payment provider refused", "The payment provider refused: {provider_code}."),
        ("El proveedor de pagos rechazó", "El proveedor de pagos rechazó: {provider_code}."),
    ),
    provider.WebhookRefused: Row(
        400,
        ("Webhook refused", "The webhook was not accepted: {reason}."),
        ("Webhook rechazado", "No se aceptó el webhook: {reason}."),
    ),
    # The counter
    fulfillment.AlreadyCollected: Row(
        409,
        ("Already collected", "It was handed over at {collected_at} by {handed_over_by}."),
        ("Ya entregado", "Lo entregó {handed_over_by} el {collected_at}."),
    ),
    fulfillment.PickupCodeWrong: Row(
        422,
        ("Wrong pickup code", "This is not the code of this pickup. {tries_left} tries are left."),
        ("Código incorrecto", "No es el código de esta recogida. Quedan {tries_left} intentos."),
    ),
    fulfillment.PickupCodeLocked: Row(
        409,
        ("Pickup locked", "Too many wrong codes; wait until {until}, or ask a manager."),
        ("Recogida bloqueada", "Demasiados intentos; espera hasta {until} o pide a un gerente."),
    ),
    fulfillment.TenderRequired: Row(
        409,
        ("Tender required", "Something is still due. Take cash or a card before the goods go."),
        ("Falta el pago", "Queda algo por cobrar. Cobra antes de entregar la mercancía."),
    ),
    fulfillment.TenderedTooLittle: Row(
        422,
        ("Not enough cash", "Less was tendered than is due."),
        ("Efectivo insuficiente", "Se entregó menos de lo que se debe."),
    ),
    baskets.HoldsLost: Row(
        409,
        ("Holds have run out", "Lines {line_numbers} are not held any more. Hold them again."),
        ("Apartados vencidos", "Las líneas {line_numbers} ya no están apartadas. Apártalas."),
    ),
    baskets.BasketFull: Row(
        422,
        ("Basket full", "A basket has at most {maximum} lines. Sell it and begin another."),
        ("Cesta llena", "Una cesta tiene como máximo {maximum} líneas. Véndela y abre otra."),
    ),
    # Clienteling
    clienteling.LookUpLimitReached: Row(
        429,
        ("Look-up limit reached", "{limit} an hour per {of}. Go on in {retry_after_seconds} s."),
        ("Límite de búsquedas", "{limit} por hora y {of}. Sigue en {retry_after_seconds} s."),
    ),
    clienteling.CandidateUsed: Row(
        409,
        ("Candidate used", "It has opened the view {view_id}. Read that, or look up again."),
        ("Candidato usado", "Ya abrió la vista {view_id}. Léela, o busca de nuevo."),
    ),
    clienteling.CandidateExpired: Row(
        410,
        ("Candidate expired", "It was good for five minutes. Look up again."),
        ("Candidato vencido", "Valía cinco minutos. Busca de nuevo."),
    ),
    clienteling.PersonMerged: Row(
        409,
        ("Profile merged", "The profile was merged since you looked it up. Look up again."),
        ("Perfil fusionado", "El perfil se fusionó desde la búsqueda. Busca de nuevo."),
    ),
    clienteling.ViewOver: Row(
        410,
        ("View over", "The view has ended ({ending}). Look the shopper up again if need be."),
        ("Vista terminada", "La vista terminó ({ending}). Busca de nuevo si hace falta."),
    ),
    clienteling.ConsentMissing: Row(
        403,
        ("No consent", "The shopper does not allow {purpose}. Ask, or do without."),
        ("Sin consentimiento", "El cliente no permite {purpose}. Pregúntale, o prescinde."),
    ),
    # Follow-ups and outreach
    follow_ups.InStock: Row(
        409,
        ("In stock", "There are {available} of {sku} at this store now."),
        ("Hay existencias", "Ahora hay {available} de {sku} en esta tienda."),
    ),
    follow_ups.TooManyWatches: Row(
        409,
        ("Too many watches", "Nobody waits for more than {maximum} at once. End one first."),
        ("Demasiados avisos", "Nadie espera más de {maximum} a la vez. Quita uno antes."),
    ),
    outreach.ClientOfColleague: Row(
        409,
        ("Client of a colleague", "A colleague serves this shopper. A manager can pass them on."),
        ("Cliente de un colega", "Un colega atiende a este cliente. Un gerente puede cederlo."),
    ),
    outreach.OutreachCapReached: Row(
        409,
        ("Written to enough", "The next message to this client may go out from {next_at} on."),
        ("Ya se le escribió", "El próximo mensaje a este cliente puede salir desde {next_at}."),
    ),
    outreach.ShopperUnreachable: Row(
        409,
        ("Unreachable", "This client has no address for a channel that they allow."),
        ("Sin contacto", "Este cliente no tiene dirección para un canal que permite."),
    ),
    # Returns
    returns.OrderNotCompleted: Row(
        409,
        ("Not completed yet", "The order is {state}; only what was handed over can come back."),
        ("Aún sin completar", "El pedido está en {state}; solo vuelve lo que se entregó."),
    ),
    returns.ReturnWindowClosed: Row(
        422,
        ("Return window closed", "Line {line_number} could come back until {closed_on}."),
        ("Plazo de devolución vencido", "La línea {line_number} podía volver hasta {closed_on}."),
    ),
    returns.FinalSale: Row(
        422,
        ("Final sale", "Line {line_number} was sold without the right to return it."),
        ("Venta final", "La línea {line_number} se vendió sin derecho a devolución."),
    ),
    returns.ReturnExceedsBought: Row(
        422,
        ("More than was bought", "{returnable} of line {line_number} can still come back."),
        ("Más de lo comprado", "De la línea {line_number} aún pueden volver {returnable}."),
    ),
    returns.ReturnExceedsRequested: Row(
        422,
        ("More than was asked for", "This return is about {requested} of line {line_number}."),
        ("Más de lo solicitado", "Esta devolución es de {requested} de la línea {line_number}."),
    ),
    returns.NothingReceived: Row(
        422,
        ("Nothing received", "No unit came back. Cancel the return if none will."),
        ("Nada recibido", "No volvió ninguna unidad. Cancela la devolución si no vendrá."),
    ),
}
